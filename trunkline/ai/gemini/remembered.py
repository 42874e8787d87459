"""What google-genai made of a set-up, remembered: its conversion of tools, voice and knobs costs more than a handshake.

The first connection of an agent is configured whole, by the SDK, and what it sent is read on its way. A later one has
the SDK configure nothing: the same is said again with its own instructions. One that goes on with a session, or whose
past follows, has the SDK configure what is its own (`OWN`), and the rest is put back as the SDK had said it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import msgspec
from google.genai import types

from trunkline.ai.gemini import words
from trunkline.ai.gemini.setup import make_config, own_config
from trunkline.ai.session import Brief
from trunkline.ai.tools import Tool
from trunkline.config import Gemini

OWN = frozenset({"model", "systemInstruction", "sessionResumption", "historyConfig"})  # of a connection, by wire names
MOST = 256  # agents' ways to be set up; beyond it the oldest is forgotten
Rewrite: TypeAlias = Callable[[bytes], bytes]
"""A set-up message as the SDK says it → as it is sent."""
_Key: TypeAlias = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class _Known:
    """Of one agent. `fresh`: a whole set-up of a new session, but for the instructions' text, or None."""

    tools: Sequence[Tool]
    shared: dict[str, Any]
    fresh: dict[str, Any] | None


class SetUps:
    """One provider's, whose settings never change."""

    def __init__(self, settings: Gemini) -> None:
        self._settings = settings
        self._known: dict[_Key, _Known] = {}

    def config(self, brief: Brief, handle: str, *, history: bool) -> tuple[types.LiveConnectConfig, Rewrite]:
        """What to give the SDK for this connection, and what to do with the set-up that it makes of it."""
        key = (brief.agent, brief.voice, brief.language)
        known = self._known.get(key)
        if known is None or not _same(known.tools, brief.tools):

            def learn(message: bytes) -> bytes:
                self._learn(key, brief, message)
                return message

            return make_config(self._settings, brief, handle, history=history), learn
        if (fresh := known.fresh) is not None and not handle and not history:
            return types.LiveConnectConfig(), lambda _: _instructed(fresh, words.instructions(brief))

        def join(message: bytes) -> bytes:
            joined = _joined(known.shared, message)
            if known.fresh is None:  # what was learned was no new session's
                self._learn(key, brief, joined)
            return joined

        return own_config(brief, handle, history=history), join

    def _learn(self, key: _Key, brief: Brief, message: bytes) -> None:
        setup = msgspec.json.decode(message)["setup"]
        while len(self._known) >= MOST:
            del self._known[next(iter(self._known))]
        shared = {name: value for name, value in setup.items() if name not in OWN}
        self._known[key] = _Known(brief.tools, shared, setup if _is_fresh(setup, words.instructions(brief)) else None)


def _same(one: Sequence[Tool], other: Sequence[Tool]) -> bool:
    """The very same tools: they are made once, at the start."""
    return len(one) == len(other) and all(a is b for a, b in zip(one, other, strict=True))


def _is_fresh(setup: dict[str, Any], text: str) -> bool:
    """Whether it is a new session's, and says its instructions where `_instructed` puts others."""
    if setup.get("sessionResumption") != {} or "historyConfig" in setup:
        return False
    return bool(_instructed(setup, text) == msgspec.json.encode({"setup": setup}))


def _instructed(setup: dict[str, Any], text: str) -> bytes:
    told = {"parts": [{"text": text}], "role": "user"}
    return msgspec.json.encode({"setup": {**setup, "systemInstruction": told}})


def _joined(shared: dict[str, Any], message: bytes) -> bytes:
    own = {name: value for name, value in msgspec.json.decode(message)["setup"].items() if name in OWN}
    return msgspec.json.encode({"setup": {**own, **shared}})
