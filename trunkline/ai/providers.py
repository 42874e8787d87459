"""The table of AI providers, and which of them a service uses when it is not told.

`profile = "auto"`: gemini with GEMINI_API_KEY, else chain where the keys of a whole chain are there, else offline.
What this release does not contain yet is said, never silently replaced: asked for by name it is a ConfigError, and
auto falls to offline with a note.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from trunkline.ai.business import load_business
from trunkline.ai.echo import EchoProvider
from trunkline.ai.session import AiProvider
from trunkline.clock import Clock
from trunkline.config import Settings
from trunkline.errors import ConfigError

Factory = Callable[[Settings, Clock], AiProvider]
CHAIN_KEYS: Final = ("DEEPGRAM_API_KEY", "GROQ_API_KEY")
PLANNED: Final = ("chain",)


def _offline(settings: Settings, clock: Clock) -> AiProvider:
    from trunkline.ai.offline.provider import OfflineProvider  # its parts load native libraries

    offline = settings.ai.offline
    data_dir = Path(settings.server.data_dir)
    return OfflineProvider(offline, load_business(offline.business, data_dir=data_dir), clock)


def _echo(settings: Settings, clock: Clock) -> AiProvider:
    return EchoProvider()


def _gemini(settings: Settings, clock: Clock) -> AiProvider:
    from trunkline.ai.gemini.provider import GeminiProvider  # the vendor's SDK takes half a second to import

    return GeminiProvider(settings.ai.gemini, os.environ, clock)


PROVIDERS: Final[Mapping[str, Factory]] = {"offline": _offline, "gemini": _gemini, "echo": _echo}


@dataclass(frozen=True, slots=True)
class Choice:
    """The profile that is in force and why; `note` is for the log when a wish could not be met."""

    profile: str
    why: str
    note: str = ""


def choose_profile(settings: Settings, env: Mapping[str, str]) -> Choice:
    """What `[ai] profile` comes to. Raises ConfigError for a profile that does not exist yet."""
    asked = settings.ai.profile
    if asked != "auto":
        _require(asked, "ai.profile")
        return Choice(asked, f'[ai] profile = "{asked}"')
    wanted = _by_keys(env)
    if wanted is None:
        return Choice("offline", "no provider key is set")
    profile, key = wanted
    if profile in PROVIDERS:
        return Choice(profile, f"{key} is set")
    note = f"{key} is set, but profile {profile!r} is not part of this release: the offline agent answers"
    return Choice("offline", note, note)


def build_provider(profile: str, settings: Settings, clock: Clock) -> AiProvider:
    """The provider of a profile, not started. Raises ConfigError for one that does not exist."""
    _require(profile, "ai.profile")
    return PROVIDERS[profile](settings, clock)


def profiles_in_use(settings: Settings, default: str) -> tuple[str, ...]:
    """Every profile that some agent needs, the default first. Raises ConfigError naming the agent at fault."""
    needed = {default: None}
    for name, agent in settings.agents.items():
        if agent.profile is not None and agent.profile != "auto":
            _require(agent.profile, f"agents.{name}.profile")
            needed[agent.profile] = None
    return tuple(needed)


def _by_keys(env: Mapping[str, str]) -> tuple[str, str] | None:
    def there(key: str) -> bool:
        return bool(env.get(key) or env.get(f"{key}_FILE"))

    if there("GEMINI_API_KEY"):
        return "gemini", "GEMINI_API_KEY"
    if all(map(there, CHAIN_KEYS)):
        return "chain", " with ".join(CHAIN_KEYS)
    return None


def _require(profile: str, field: str) -> None:
    if profile in PROVIDERS:
        return
    known = ", ".join(("auto", *PROVIDERS))
    reason = "is not part of this release yet" if profile in PLANNED else "does not exist"
    raise ConfigError(f"{field}: {profile!r} {reason}; there are: {known}")
