"""What google-genai made of a set-up, remembered: its conversion of tools, voice and knobs costs more than a handshake.

The first connection of an agent is configured whole, by the SDK, and what it sent is read on its way. Later ones have
the SDK configure what is their own (`OWN`: instructions, handle, history); the rest is put back as the SDK had said it.
"""

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import msgspec
from google.genai import types

from trunkline.ai.gemini.setup import make_config, own_config
from trunkline.ai.session import Brief
from trunkline.ai.tools import Tool
from trunkline.config import Gemini

OWN = frozenset({"model", "systemInstruction", "sessionResumption", "historyConfig"})  # of a connection, by wire names
MOST = 256  # agents' ways to be set up; beyond it the oldest is forgotten
Rewrite: TypeAlias = Callable[[bytes], bytes]
"""A set-up message as the SDK says it → as it is sent."""
_Key: TypeAlias = tuple[str, str, str]


class SetUps:
    """One provider's, whose settings never change."""

    def __init__(self, settings: Gemini) -> None:
        self._settings = settings
        self._known: dict[_Key, tuple[Sequence[Tool], dict[str, Any]]] = {}

    def config(self, brief: Brief, handle: str, *, history: bool) -> tuple[types.LiveConnectConfig, Rewrite]:
        """What to give the SDK for this connection, and what to do with the set-up that it makes of it."""
        key = (brief.agent, brief.voice, brief.language)
        known = self._known.get(key)
        if known is not None and _same(known[0], brief.tools):
            shared = known[1]
            return own_config(brief, handle, history=history), lambda message: _joined(shared, message)

        def learn(message: bytes) -> bytes:
            self._learn(key, brief.tools, message)
            return message

        return make_config(self._settings, brief, handle, history=history), learn

    def _learn(self, key: _Key, tools: Sequence[Tool], message: bytes) -> None:
        setup = msgspec.json.decode(message)["setup"]
        while len(self._known) >= MOST:
            del self._known[next(iter(self._known))]
        self._known[key] = (tools, {name: value for name, value in setup.items() if name not in OWN})


def _same(one: Sequence[Tool], other: Sequence[Tool]) -> bool:
    """The very same tools: they are made once, at the start."""
    return len(one) == len(other) and all(a is b for a, b in zip(one, other, strict=True))


def _joined(shared: dict[str, Any], message: bytes) -> bytes:
    own = {name: value for name, value in msgspec.json.decode(message)["setup"].items() if name in OWN}
    return msgspec.json.encode({"setup": {**own, **shared}})
