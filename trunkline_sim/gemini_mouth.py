"""The simulated Gemini's replies: audio faster than it plays, transcription, the end of a turn, interruption. Pure."""

from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Literal

from trunkline.ai.offline.voice import synthesise
from trunkline.codecs.resample import resample_clip
from trunkline_sim import gemini_voice
from trunkline_sim.gemini_stage import Stage
from trunkline_sim.gemini_wire import Json, audio_part, model_turn, usage

_SPEECH, _CUT = "speech", "interrupt"
_PAIRED = 0.2  # of the messages of newer models hold two parts


class Mouth:
    """Speaks one reply at a time.

    `on_progress(turn, sent_ms, now)` after each message of audio, `on_idle(now)` after a turn, `on_cut(now)` when
    `interrupted` was sent.
    """

    def __init__(self, stage: Stage) -> None:
        self.phase: Literal["idle", "thinking", "speaking", "draining"] = "idle"
        self.on_progress: Callable[[int, float, float], None] = lambda turn, sent_ms, now: None
        self.on_idle: Callable[[float], None] = lambda now: None
        self.on_cut: Callable[[float], None] = lambda now: None
        self.turn = 0
        self._stage = stage
        self._chunks: Iterator[bytes] = iter(())
        self._next: bytes | None = None
        self._words: list[str] = []
        self._word_s = 0.0
        self._began = 0.0
        self._sent_s = 0.0

    def say(self, text: str, now: float, delay_s: float | None = None) -> int:
        """Speak `text` after the usual time of thinking; the reply's number."""
        stage, scenario = self._stage, self._stage.scenario
        stage.memory.turn += 1
        self.turn = stage.memory.turn
        stage.log.replies[self.turn] = text
        stage.memory.history.append(("model", text))
        jitter = stage.dice.uniform(-1, 1) * scenario.first_audio_jitter_s
        at = now + max(0.0, scenario.first_audio_s + jitter if delay_s is None else delay_s)
        self.phase = "thinking"
        stage.agenda.put(at, _SPEECH, lambda due: self._begin(text, due))
        return self.turn

    def interrupt(self, now: float, delay_s: float) -> None:
        """The caller speaks over the reply: it ends `delay_s` later, unless it has ended by then."""
        if self.phase in ("speaking", "draining") and not self._stage.agenda.has(_CUT):
            self._stage.agenda.put(now + delay_s, _CUT, self._cut)

    def give_up(self) -> None:
        """Forget a reply of which nothing was said yet."""
        if self.phase == "thinking":
            self._stage.agenda.cancel(_SPEECH)
            self.phase = "idle"

    def _begin(self, text: str, now: float) -> None:
        stage, scenario = self._stage, self._stage.scenario
        if stage.setup.resumption:
            stage.send(now, "resumable", sessionResumptionUpdate={"resumable": False})
        pcm = self._speech(text)
        self._chunks = gemini_voice.cut(pcm, scenario.chunk_bytes, stage.dice, odd=scenario.odd_chunks)
        self._next = next(self._chunks, None)
        self._words = text.split()
        self._word_s = len(pcm) / (2 * scenario.rate) / max(1, len(self._words))
        self.phase, self._began, self._sent_s = "speaking", now, 0.0
        self._step(now)

    def _speech(self, text: str) -> bytes:
        scenario = self._stage.scenario
        if scenario.voice == "flite":
            return _flite(text, scenario.rate)
        return gemini_voice.tones(self.turn, len(text) * scenario.char_s, scenario.rate)

    def _step(self, now: float) -> None:
        """One message of audio; then the next is due, or the turn's end."""
        sent = self._send_audio(now)
        turn = self.turn
        if self._next is not None:
            self._stage.agenda.put(now + sent / self._stage.scenario.speedup, _SPEECH, self._step)
        else:
            self.phase = "draining"
            self._stage.agenda.put(now, _SPEECH, self._generated)
        self.on_progress(turn, 1000 * self._sent_s, now)

    def _send_audio(self, now: float) -> float:
        """Seconds of audio that the message held."""
        stage, scenario = self._stage, self._stage.scenario
        pieces = [self._take()]
        if scenario.style != "2.5" and self._next is not None and stage.dice.random() < _PAIRED:
            pieces.append(self._take())
        seconds = sum(map(len, pieces)) / (2 * scenario.rate)
        self._sent_s += seconds
        stage.spoken_s += seconds
        body: Json = {"modelTurn": model_turn([audio_part(piece, scenario.rate) for piece in pieces])}
        words = self._spoken_words() if stage.setup.transcribe_out else ""
        if words and scenario.style != "2.5":
            body["outputTranscription"] = {"text": words}
        stage.send(now, "audio", serverContent=body)
        if words and scenario.style == "2.5":
            stage.send(now, "outputTranscription", serverContent={"outputTranscription": {"text": words}})
        return seconds

    def _take(self) -> bytes:
        piece, self._next = self._next or b"", next(self._chunks, None)
        return piece

    def _spoken_words(self) -> str:
        """Words whose audio has been sent since the last time."""
        done = self._stage.log.replies[self.turn].split()
        said = len(done) - len(self._words)
        due = len(done) if self._next is None else min(len(done), int(self._sent_s / self._word_s))
        words, self._words = self._words[: max(0, due - said)], self._words[max(0, due - said) :]
        return "".join(f" {word}" if said or at else word for at, word in enumerate(words))

    def _generated(self, now: float) -> None:
        self._stage.send(now, "generationComplete", serverContent={"generationComplete": True})
        if not self._stage.scenario.no_turn_complete:
            self._stage.agenda.put(max(now, self._began + self._sent_s), _SPEECH, self._finish)

    def _finish(self, now: float) -> None:
        self.phase = "idle"
        self._stage.agenda.cancel(_CUT)
        self._turn_complete(now)
        if self._stage.scenario.dup_turn_complete:
            self._turn_complete(now)
        self.on_idle(now)

    def _turn_complete(self, now: float) -> None:
        stage = self._stage
        body: Json = {"turnComplete": True}
        if stage.scenario.style == "3.8":
            body["interactionStatus"] = "IDLE"
        stage.send(now, "turnComplete", serverContent=body, usageMetadata=usage(stage.log.audio_s, stage.spoken_s))

    def _cut(self, now: float) -> None:
        stage = self._stage
        stage.agenda.cancel(_SPEECH)
        for _ in range(stage.scenario.stale_chunks):
            if self._next is not None:
                self._send_audio(now)
        self.phase = "idle"
        stage.send(now, "interrupted", serverContent={"interrupted": True})
        stage.log.add(now, "note", "cut", {"turn": self.turn, "sent_s": self._sent_s})
        self.on_cut(now)
        if stage.scenario.late_audio and self._next is not None:
            self._send_audio(now)
        self._next = None
        self._turn_complete(now)
        self.on_idle(now)


@lru_cache(maxsize=64)
def _flite(text: str, rate: int) -> bytes:
    """The offline agent's synthesiser, at `rate`."""
    pcm, made_at = synthesise(text)
    return resample_clip(pcm, made_at, rate)
