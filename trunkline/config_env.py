"""Environment names: those of the earlier systems, kept verbatim, and `TRUNKLINE__SECTION__KEY` for every setting.

Two underscores, because Kubernetes puts `TRUNKLINE_SERVER_PORT=tcp://…` into every pod beside a service of that name.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from trunkline.errors import ConfigError

PREFIX = "TRUNKLINE__"


@dataclass(frozen=True, slots=True)
class EnvName:
    """One environment name: the setting it sets (dotted key, "" = none), or who reads it."""

    name: str
    key: str = ""
    secret: bool = False  # masked when shown; `NAME_FILE` may hold the path of a file with the value
    used_by: str = ""  # "" and no key: known, not used yet
    value: Callable[[str], object] = str  # None: leaves the setting alone


def _level(text: str) -> str:
    low = text.lower()
    return {"warn": "warning", "critical": "error", "fatal": "error", "trace": "debug"}.get(low, low)


def _debug(text: str) -> str | None:
    on = text.lower() in ("1", "true", "yes", "on")
    if not on and text.lower() not in ("0", "false", "no", "off"):
        raise ConfigError(f"DEBUG = {text!r}: must be 1, 0, true, false, yes, no, on or off")
    return "debug" if on else None  # DEBUG=0 does not quieten what the file asks for


_LATER = (
    "MAX_AUDIO_LATENCY_MS TARGET_RESPONSE_TIME_MS AUDIO_CHUNK_MS LLM_MODEL "
    "TTS_PROVIDER SAMPLE_RATE CHANNELS VOICE_TIMEOUT DEFAULT_SPEAKER_WAV TTS_AGREE_TO_CPML FONOSTER_FROM_NUMBER "
    "FONOSTER_ACCESS_KEY_ID TWILIO_ACCOUNT_SID LIVEKIT_URL"
)
_LATER_SECRETS = (
    "DEEPGRAM_API_KEY GROQ_API_KEY ELEVENLABS_API_KEY OPENAI_API_KEY FONOSTER_API_KEY "
    "FONOSTER_API_SECRET LIVEKIT_API_KEY LIVEKIT_API_SECRET SMARTFLO_API_TOKEN SMARTFLO_C2C_API_KEY"
)

ENV_NAMES: tuple[EnvName, ...] = (
    EnvName("HOST", "server.host"),
    EnvName("PORT", "server.port"),
    EnvName("PUBLIC_URL", "server.public_url"),
    EnvName("DATA_DIR", "server.data_dir"),
    EnvName("CORS_ORIGINS", "server.cors_origins"),
    EnvName("DEBUG", "log.level", value=_debug),  # before LOG_LEVEL, which is the more exact word and wins
    EnvName("LOG_LEVEL", "log.level", value=_level),
    EnvName("DATABASE_URL", "database_url", secret=True),
    EnvName("REDIS_URL", "redis_url", secret=True),
    EnvName("MEDIA_TOKEN", "auth.media_token", secret=True),
    EnvName("WEBHOOK_SECRET", "auth.webhook_secret", secret=True),
    EnvName("TRUNKLINE_SIP", "sip.enabled"),
    EnvName("TWILIO_AUTH_TOKEN", "carriers.twilio.auth_token", secret=True),
    EnvName("GEMINI_TEMPERATURE", "ai.gemini.temperature"),
    EnvName("GEMINI_MAX_TOKENS", "ai.gemini.max_output_tokens"),
    EnvName("GOOGLE_GEMINI_BASE_URL", "ai.gemini.base_url"),
    EnvName("GEMINI_API_KEY", secret=True, used_by="profile gemini: the key; also what `auto` looks for"),
    EnvName("GOOGLE_API_KEY", secret=True, used_by="profile gemini: the key where the other is not set"),
    EnvName("TRUNKLINE_CONFIG", used_by="the loader: path of the configuration file"),
    EnvName("TRUNKLINE_API_KEY", secret=True, used_by="the command line as a client"),
    EnvName("TRUNKLINE_COMPILED", used_by="every start: off interprets; else where builds are looked for"),
    EnvName("DEMO", used_by="make run: off leaves the demonstration call out"),
    *(EnvName(name) for name in _LATER.split()),
    *(EnvName(name, secret=True) for name in _LATER_SECRETS.split()),
)


def lookup(env: Mapping[str, str], name: str) -> str | None:
    """The value of `name`, or the contents of the file that `name_FILE` points to; None when neither is there.

    An empty value counts as not there (container tools pass names through empty). Raises ConfigError.
    """
    value, file = env.get(name) or None, env.get(f"{name}_FILE") or None
    if value is not None and file is not None:
        raise ConfigError(f"{name} and {name}_FILE are both set: keep one")
    if file is None:
        return value
    try:
        return Path(file).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{name}_FILE = {file!r}: cannot be read ({error})") from error


def origin(env: Mapping[str, str], name: str) -> str:
    """The name that really holds the value: `name` or `name_FILE`."""
    return name if env.get(name) else f"{name}_FILE"


def secret_values(env: Mapping[str, str]) -> list[str]:
    """The values of all secrets that are set, for the log to hide wherever they turn up. Raises ConfigError."""
    found = (lookup(env, known.name) for known in ENV_NAMES if known.secret)
    return [value for value in found if value]
