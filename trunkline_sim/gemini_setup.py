"""The `setup` message judged as the service judges it: fields, types, and what each model allows. Pure."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from trunkline_sim.gemini_wire import INVALID, Json, Refused, text_of

_ANY = object
_AUTO: Mapping[str, Any] = {
    "disabled": bool,
    "startOfSpeechSensitivity": str,
    "endOfSpeechSensitivity": str,
    "prefixPaddingMs": int,
    "silenceDurationMs": int,
}
_GENERATION: Mapping[str, Any] = {
    "responseModalities": list,
    "temperature": (int, float),
    "topP": (int, float),
    "topK": (int, float),
    "maxOutputTokens": int,
    "candidateCount": int,
    "presencePenalty": (int, float),
    "frequencyPenalty": (int, float),
    "seed": int,
    "mediaResolution": str,
    "speechConfig": {"voiceConfig": dict, "languageCode": str, "multiSpeakerVoiceConfig": dict},
    "thinkingConfig": {"thinkingLevel": str, "thinkingBudget": int, "includeThoughts": bool},
    "enableAffectiveDialog": bool,
}
_FIELDS: Mapping[str, Any] = {
    "model": str,
    "generationConfig": _GENERATION,
    "systemInstruction": _ANY,
    "tools": list,
    "inputAudioTranscription": dict,
    "outputAudioTranscription": dict,
    "realtimeInputConfig": {
        "automaticActivityDetection": _AUTO,
        "activityHandling": str,
        "turnCoverage": str,
        "interimTranscriptTimestampEnabled": bool,
    },
    "sessionResumption": {"handle": str, "transparent": bool},
    "contextWindowCompression": {"triggerTokens": (int, str), "slidingWindow": {"targetTokens": (int, str)}},
    "proactivity": {"proactiveAudio": bool},
    "historyConfig": {"initialHistoryInClientContent": bool},
    "explicitVadSignal": bool,
    "translationConfig": dict,
    "avatarConfig": dict,
    "safetySettings": list,
    "labels": dict,
}

_PREFIXES = ("models/", "publishers/google/models/", "projects/")
_SYNC_ONLY = "gemini-3.1-flash-live-preview"
_EXTENDED = "gemini-3.8-live-extended-thinking"
MODELS = (
    "gemini-3.8-live",
    _EXTENDED,
    _SYNC_ONLY,
    "gemini-2.5-flash-native-audio-preview-12-2025",
    "gemini-live-2.5-flash-native-audio",
)


@dataclass(frozen=True, slots=True)
class Setup:
    """What a connection asked for, understood."""

    model: str  # the bare id
    body: Json  # everything, camelCase
    system: str = ""
    voice: str = ""
    prefix_ms: int = 20
    silence_ms: int = 500
    manual: bool = False  # the client marks activity itself
    interrupts: bool = True
    transcribe_in: bool = False
    transcribe_out: bool = False
    resumption: bool = False  # handles are wanted
    handle: str = ""  # to resume
    history_first: bool = False
    tools: Mapping[str, bool] = field(default_factory=dict)  # name → blocking


def understand(body: Json, version: str) -> Setup:
    """The body of `setup`, camelCase. Raises Refused with the service's code and reason."""
    _check(body, _FIELDS, "setup")
    model = _model(body.get("model"), version)
    generation = body.get("generationConfig", {})
    _check_model_rules(model, body, generation)
    realtime = body.get("realtimeInputConfig", {})
    auto = realtime.get("automaticActivityDetection", {})
    resumption = body.get("sessionResumption")
    return Setup(
        model=model,
        body=body,
        system=text_of(body["systemInstruction"]) if "systemInstruction" in body else "",
        voice=_voice(generation.get("speechConfig", {})),
        prefix_ms=auto.get("prefixPaddingMs", 20),
        silence_ms=auto.get("silenceDurationMs", 500),
        manual=auto.get("disabled", False),
        interrupts=realtime.get("activityHandling") != "NO_INTERRUPTION",
        transcribe_in="inputAudioTranscription" in body,
        transcribe_out="outputAudioTranscription" in body,
        resumption=resumption is not None,
        handle=(resumption or {}).get("handle", ""),
        history_first=body.get("historyConfig", {}).get("initialHistoryInClientContent", False),
        tools=_tools(body.get("tools", []), model),
    )


def _check(body: Any, fields: Mapping[str, Any], where: str) -> None:
    """Unknown names and wrong types, all the way down."""
    if not isinstance(body, dict):
        raise Refused(1007, f"{INVALID} {where} is no object.")
    for key, value in body.items():
        wanted = fields.get(key)
        if wanted is None:
            raise Refused(1007, f"Invalid JSON payload received. Unknown name \"{key}\" at '{where}': no such field.")
        if isinstance(wanted, Mapping):
            _check(value, wanted, f"{where}.{key}")
        elif not isinstance(value, wanted) or (isinstance(value, bool) and wanted not in (bool, _ANY)):
            raise Refused(1007, f"Invalid value at '{where}.{key}'.")


def _model(name: Any, version: str) -> str:
    bare = name.rsplit("/", 1)[-1] if isinstance(name, str) else ""
    if not isinstance(name, str) or not name.startswith(_PREFIXES) or bare not in MODELS:
        reason = f"{name} is not found for API version {version}, or is not supported for bidiGenerateContent."
        raise Refused(1008, reason)
    return bare


def _check_model_rules(model: str, body: Json, generation: Json) -> None:
    modalities = [str(item).upper() for item in generation.get("responseModalities", ["AUDIO"])]
    if modalities != ["AUDIO"]:
        raise Refused(1007, f"Response modality {', '.join(modalities)} is not supported by {model}.")
    thinking = generation.get("thinkingConfig")
    rule = _RULES.get(model)
    if rule is not None:
        rule(body, generation, thinking)


def _rules_38(body: Json, generation: Json, thinking: Json | None) -> None:
    if thinking is not None:
        raise Refused(1007, "Thinking level is not supported for this model.")
    if body.get("proactivity", {}).get("proactiveAudio") is False:
        raise Refused(1007, "Proactive audio cannot be disabled for this model.")
    if "enableAffectiveDialog" in generation:
        raise Refused(1007, f"{INVALID} enableAffectiveDialog is not supported for this model.")


def _rules_extended(body: Json, generation: Json, thinking: Json | None) -> None:
    level = str((thinking or {}).get("thinkingLevel", "")).upper()
    if level not in ("LOW", "MEDIUM", "HIGH") or "thinkingBudget" in (thinking or {}):
        raise Refused(1007, "Thinking level must be one of LOW, MEDIUM, HIGH for this model.")


def _rules_31(body: Json, generation: Json, thinking: Json | None) -> None:
    if "proactivity" in body or "enableAffectiveDialog" in generation:
        raise Refused(1007, f"{INVALID} Proactive audio and affective dialog are not supported for this model.")


_RULES: Mapping[str, Callable[[Json, Json, Json | None], None]] = {
    "gemini-3.8-live": _rules_38,
    _EXTENDED: _rules_extended,
    _SYNC_ONLY: _rules_31,
}


def _voice(speech: Json) -> str:
    voice = speech.get("voiceConfig", {})
    prebuilt = voice.get("prebuiltVoiceConfig", {})
    return str(prebuilt.get("voiceName", "") if isinstance(prebuilt, dict) else "") or str(voice.get("voice", ""))


def _tools(tools: list[Any], model: str) -> dict[str, bool]:
    """Declared functions, and whether the model waits for each."""
    found: dict[str, bool] = {}
    for tool in tools:
        declared = tool.get("functionDeclarations", []) if isinstance(tool, dict) else None
        if not isinstance(declared, list):
            raise Refused(1007, INVALID)
        for function in declared:
            name, blocking = _function(function, model)
            found[name] = blocking
    return found


def _function(function: Any, model: str) -> tuple[str, bool]:
    name = function.get("name") if isinstance(function, dict) else None
    if not isinstance(name, str) or not name:
        raise Refused(1007, f"{INVALID} A function declaration needs a name.")
    behaviour = function.get("behavior", "NON_BLOCKING" if model.startswith("gemini-3.8") else "BLOCKING")
    if behaviour not in ("BLOCKING", "NON_BLOCKING"):
        raise Refused(1007, f"{INVALID} behavior of {name}.")
    wrong = {_EXTENDED: "BLOCKING", _SYNC_ONLY: "NON_BLOCKING"}.get(model)
    if behaviour == wrong:
        raise Refused(1007, f"Function behavior {behaviour} is not supported for this model.")
    return name, behaviour == "BLOCKING"
