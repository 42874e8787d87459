"""`setup`: which model, how it speaks, what it may use. Knobs of `[ai.gemini]`, particulars per model (late 2026)."""

from dataclasses import dataclass
from typing import Final

import structlog
from google.genai import types

from trunkline.ai.gemini import words
from trunkline.ai.session import Brief
from trunkline.ai.tools import Tool, ToolRequest
from trunkline.config import Gemini

_log = structlog.get_logger(__name__)
CURRENT: Final = "gemini-3.8-live"
GONE: Final = ("gemini-2.0-flash", "gemini-live-2.5-flash-preview", "gemini-2.5-flash-exp-native-audio")
VOICES: Final = (
    *("Zephyr", "Puck", "Charon", "Kore", "Fenrir", "Leda", "Orus", "Aoede", "Callirrhoe", "Autonoe", "Enceladus"),
    *("Iapetus", "Umbriel", "Algieba", "Despina", "Erinome", "Algenib", "Rasalgethi", "Laomedeia", "Achernar"),
    *("Alnilam", "Schedar", "Gacrux", "Pulcherrima", "Achird", "Zubenelgenubi", "Vindemiatrix", "Sadachbia"),
    *("Sadaltager", "Sulafat"),
)


@dataclass(frozen=True, slots=True)
class Traits:
    """What a family of models takes: `levels` of thinking (the first is the default), tools that do not block,
    content in the middle of a conversation."""

    levels: tuple[str, ...] = ()
    level_needed: bool = False
    non_blocking: bool = True
    context: bool = True


_TRAITS: Final = (  # the longest prefix first
    ("gemini-3.8-live-extended-thinking", Traits(("low", "medium", "high"), level_needed=True)),
    ("gemini-3.8-live", Traits()),
    ("gemini-3.1", Traits(("minimal", "low", "medium", "high"), non_blocking=False, context=False)),
    ("", Traits()),
)


def traits(model: str) -> Traits:
    """Of this model, by its name."""
    return next(found for prefix, found in _TRAITS if model.startswith(prefix))


def current_model(asked: str) -> str:
    """The model to use: names of models that were shut down become the current one, with a warning."""
    name = asked.removeprefix("models/")
    if name.startswith(GONE):
        _log.warning("gemini.model_gone", asked=name, used=CURRENT)
        return CURRENT
    return name


def make_config(settings: Gemini, brief: Brief, handle: str, *, history: bool) -> types.LiveConnectConfig:
    """What one connection is opened with. `handle`: of the session to go on with; `history`: the past follows."""
    model = current_model(settings.model)
    return types.LiveConnectConfig(
        response_modalities=[types.Modality.AUDIO],
        temperature=settings.temperature,
        top_p=settings.top_p,
        max_output_tokens=settings.max_output_tokens or None,
        speech_config=_speech(settings, brief),
        system_instruction=words.instructions(brief),
        tools=_tools(brief, traits(model)),
        input_audio_transcription=types.AudioTranscriptionConfig(),
        output_audio_transcription=types.AudioTranscriptionConfig(),
        realtime_input_config=_activity(settings),
        session_resumption=types.SessionResumptionConfig(handle=handle or None),
        context_window_compression=types.ContextWindowCompressionConfig(sliding_window=types.SlidingWindow()),
        thinking_config=_thinking(settings, traits(model)),
        history_config=_history(history=history),
    )


def own_config(brief: Brief, handle: str, *, history: bool) -> types.LiveConnectConfig:
    """Of the same, what may differ between two connections of one agent."""
    return types.LiveConnectConfig(
        system_instruction=words.instructions(brief),
        session_resumption=types.SessionResumptionConfig(handle=handle or None),
        history_config=_history(history=history),
    )


def _history(*, history: bool) -> types.HistoryConfig | None:
    return types.HistoryConfig(initial_history_in_client_content=True) if history else None


def warm_up(settings: Gemini) -> None:
    """Load and build what the SDK otherwise loads and builds while the first caller waits. Sends nothing."""
    brief = Brief("warm-up", "", tools=(Tool("warm_up", "Nothing.", {"type": "object"}, _nothing),))
    for history in (False, True):
        config = make_config(settings, brief, "", history=history)
        types.LiveConnectParameters(model=CURRENT, config=config).model_dump(exclude_none=True)
    types.LiveServerMessage.model_validate({"setupComplete": {}})
    types.LiveClientRealtimeInput(text="").model_dump(exclude_none=True)
    types.LiveClientToolResponse(function_responses=[types.FunctionResponse(id="", name="", response={})]).model_dump()


async def _nothing(_: ToolRequest) -> None:
    """The tool of nobody."""


def _speech(settings: Gemini, brief: Brief) -> types.SpeechConfig:
    voice = settings.voice
    if brief.voice in VOICES:
        voice = brief.voice
    elif brief.voice:
        _log.warning("voice.unknown", voice=brief.voice, used=settings.voice)
    prebuilt = types.PrebuiltVoiceConfig(voice_name=voice)
    language = settings.language or (brief.language if "-" in brief.language else "")
    return types.SpeechConfig(
        voice_config=types.VoiceConfig(prebuilt_voice_config=prebuilt), language_code=language or None
    )


def _tools(brief: Brief, model: Traits) -> types.ToolListUnion | None:
    if not brief.tools:
        return None
    return [types.Tool(function_declarations=[_declaration(tool, model) for tool in brief.tools])]


def _declaration(tool: Tool, model: Traits) -> types.FunctionDeclaration:
    return types.FunctionDeclaration(
        name=tool.name,
        description=tool.description,
        parameters_json_schema=dict(tool.parameters),
        behavior=types.Behavior.NON_BLOCKING if model.non_blocking else None,
    )


def _activity(settings: Gemini) -> types.RealtimeInputConfig:
    start, end = settings.start_sensitivity, settings.end_sensitivity
    detection = types.AutomaticActivityDetection(
        start_of_speech_sensitivity=types.StartSensitivity(f"START_SENSITIVITY_{start.upper()}") if start else None,
        end_of_speech_sensitivity=types.EndSensitivity(f"END_SENSITIVITY_{end.upper()}") if end else None,
        prefix_padding_ms=settings.prefix_padding_ms or None,
        silence_duration_ms=settings.silence_duration_ms or None,
    )
    return types.RealtimeInputConfig(automatic_activity_detection=detection)


def _thinking(settings: Gemini, model: Traits) -> types.ThinkingConfig | None:
    level: str = settings.thinking
    if level not in model.levels:
        if level:
            _log.warning("gemini.thinking_refused", asked=level, allowed=list(model.levels))
        level = model.levels[0] if model.level_needed else ""
    return types.ThinkingConfig(thinking_level=types.ThinkingLevel(level.upper())) if level else None
