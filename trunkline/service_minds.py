"""Which AI providers this worker needs, brought up together and taken down together."""

import asyncio
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import get_args

import structlog

from trunkline.ai.providers import build_provider, choose_profile, profiles_in_use
from trunkline.ai.session import AiProvider
from trunkline.clock import Clock
from trunkline.config import Profile, Settings

log = structlog.get_logger("trunkline.service")


@dataclass(slots=True)
class Minds:
    """The providers of all configured agents. `default` is the key for agents without a profile of their own."""

    providers: Mapping[str, AiProvider]
    default: str
    why: str  # why it is the default
    ours: bool = True  # ours to close

    async def start(self) -> None:
        """Bring them up, one after the other (each may fill the machine by itself). Raises ProviderError."""
        for provider in self._each():
            await provider.start()

    async def close(self) -> None:
        """Take them down; one that fails does not keep the others. Raises the first failure."""
        if not self.ours:
            return
        results = await asyncio.gather(*(provider.close() for provider in self._each()), return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result

    def told(self) -> str:
        """One line for a person."""
        provider = self.providers[self.default]
        room = "any number of calls" if provider.capacity is None else f"up to {provider.capacity} calls at once"
        return f"{provider.name} ({self.why}), {room}"

    def _each(self) -> list[AiProvider]:
        return list({id(provider): provider for provider in self.providers.values()}.values())


def choose_minds(settings: Settings, clock: Clock, given: AiProvider | None = None) -> Minds:
    """The providers of `[ai] profile` and of every agent that names its own; `given` stands for all of them.

    Raises ConfigError for a profile that cannot be had.
    """
    if given is not None:
        return Minds(dict.fromkeys([given.name, *get_args(Profile)], given), given.name, "handed in", ours=False)
    choice = choose_profile(settings, os.environ)
    if choice.note:
        log.warning("profile.note", note=choice.note)
    profiles = profiles_in_use(settings, choice.profile)
    providers = {profile: build_provider(profile, settings, clock) for profile in profiles}
    return Minds(providers, choice.profile, choice.why)
