"""A simulated Gemini session without sockets: messages in, messages out, time by hand."""

import base64
import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from trunkline_sim import mulaw
from trunkline_sim.gemini_ear import Recordings
from trunkline_sim.gemini_log import SessionLog
from trunkline_sim.gemini_scenario import Fault, Scenario
from trunkline_sim.gemini_session import Session
from trunkline_sim.gemini_stage import Close, Freeze, Memories, Reset, Send

FRAME = 640  # bytes: 20 ms at 16 kHz
SETUP: Mapping[str, Any] = {"model": "models/gemini-3.8-live"}


def upsampled(clip: bytes) -> bytes:
    """Mu-law at 8 kHz → s16le at 16 kHz by the spectrum: nothing of the product's in it."""
    wave = mulaw.decode(clip).astype(np.float64)
    doubled = 2 * np.fft.irfft(np.fft.rfft(wave), 2 * wave.size)
    return np.clip(np.rint(doubled), -32768, 32767).astype("<i2").tobytes()


def silence(seconds: float) -> bytes:
    """s16le at 16 kHz."""
    return bytes(2 * round(16_000 * seconds))


def babble(seed: int = 0, seconds: float = 1.2) -> bytes:
    """Something with the level and the slow ups and downs of speech, different for each seed: mu-law at 8 kHz."""
    dice = np.random.default_rng(seed)
    count = int(seconds * 8000)
    wave = np.convolve(dice.normal(size=count), np.hanning(12), "same")
    slow = np.repeat(dice.uniform(0.3, 1.0, count // 800 + 1), 800)[:count]
    return mulaw.encode(np.clip(2500 * slow * wave / wave.std(), -30000, 30000).astype(np.int16))


class Rig:
    """One connection. `out` holds everything that was sent, parsed where it is JSON, as (second, message)."""

    def __init__(
        self,
        scenario: Scenario | None = None,
        clips: Mapping[str, bytes] | None = None,
        memories: Memories | None = None,
        *,
        connection: int = 1,
        at: float = 0.0,
    ) -> None:
        self.now = at
        self.log = SessionLog(connection)
        self.memories = memories or Memories()
        self.session = Session(
            scenario or Scenario(), Recordings(clips or {}), self.memories, self.log, connection=connection, now=at
        )
        self.out: list[tuple[float, Any]] = []
        self.end: Close | Reset | Freeze | None = None
        self.ended_at = 0.0

    def open(self, **setup: Any) -> "Rig":
        """Send `setup`, wait for its answer."""
        self.send({"setup": {**SETUP, **setup}})
        self.wait(0.2)
        return self

    def send(self, message: Any) -> None:
        """One message now."""
        self.session.receive(message if isinstance(message, str) else json.dumps(message), self.now)
        self._collect()

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        until = self.now + seconds
        while (due := self.session.next_at()) is not None and due <= until:
            self.now = max(self.now, due)
            self.session.tick(self.now)
            self._collect()
        self.now = until

    def hear(self, pcm: bytes) -> None:
        """Caller's audio in real time, 20 ms a message."""
        for at in range(0, len(pcm), FRAME):
            self.audio(pcm[at : at + FRAME])
            self.wait(0.02)

    def audio(self, pcm: bytes, rate: int = 16_000) -> None:
        """One message of audio as the SDK writes it: snake case, URL-safe alphabet."""
        data = base64.urlsafe_b64encode(pcm).decode()
        self.send({"realtime_input": {"audio": {"data": data, "mime_type": f"audio/pcm;rate={rate}"}}})

    def say(self, clip: bytes) -> None:
        """A caller's sentence and the silence by which its end is known."""
        self.hear(silence(0.1) + upsampled(clip) + silence(0.6))

    def fault(self, fault: Fault) -> None:
        """Now."""
        self.session.do(fault, self.now)
        self._collect()

    def of(self, *path: str) -> list[Any]:
        """What stands at `path` in each message that has it: of("serverContent", "turnComplete")."""
        found = []
        for _, message in self.out:
            for key in path:
                message = message.get(key) if isinstance(message, dict) else None
            if message is not None:
                found.append(message)
        return found

    def when(self, *path: str) -> list[float]:
        """The seconds at which they were sent."""
        return [at for at, message in self.out if Rig.there(message, path)]

    def spoken(self) -> bytes:
        """All audio, as sent."""
        parts = [part for turn in self.of("serverContent", "modelTurn") for part in turn["parts"]]
        return b"".join(base64.b64decode(part["inlineData"]["data"]) for part in parts)

    @staticmethod
    def there(message: Any, path: tuple[str, ...]) -> bool:
        for key in path:
            message = message.get(key) if isinstance(message, dict) else None
        return message is not None

    def _collect(self) -> None:
        for action in self.session.take_actions():
            if isinstance(action, Send):
                self.out.append((self.now, _parsed(action.data)))
            else:
                self.end, self.ended_at = action, self.now


def _parsed(data: bytes) -> Any:
    try:
        return json.loads(data)
    except ValueError:
        return data
