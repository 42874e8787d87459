"""One reply in the making: the model's audio and words as they come → frames and words that can be spoken and cut."""

from trunkline.ai.gemini.past import Line
from trunkline.ai.gemini.wire import OUTPUT_RATE
from trunkline.ai.session import ReplyAudio, ReplyId, ReplyText
from trunkline.codecs.frame import SAMPLE_BYTES, AudioFrame
from trunkline.codecs.resample import RATES, Resampler

_ENDS = (".", "?", "!", "…", "。", "？", "！", "।")
DRY_S = 1.5  # nobody thinks in mid-sentence: what broke off there and is this late is not coming
_MOST_HELD = 24  # characters without a blank: a language that writes none


class Reply:
    """Words go out word by word beside the audio, so that what was heard of a cut reply can be told."""

    def __init__(self, reply: ReplyId, turn: int, line: Line, now: float) -> None:
        self.id, self.turn = reply, turn
        self.began = self.last_at = now
        self.sent_s = 0.0  # speech so far
        self.complete_at: float | None = None  # when the model said that this was all
        self.dead = False  # nobody wants the rest
        self._line = line
        self._rest = ""  # the beginning of a word
        self._odd = b""  # the first half of a sample
        self._samples = 0
        self._resampler: Resampler | None = None

    @property
    def said(self) -> str:
        """Its words so far."""
        return self._line.text.strip()

    @property
    def sounds_complete(self) -> bool:
        """Whether its words end like a sentence."""
        return self.said.endswith(_ENDS)

    @property
    def sounds_until(self) -> float:
        """When (clock, s) what came so far will have been heard, had each of it been passed on at once."""
        return self.began + self.sent_s

    def stalled_at(self, stall_s: float, *, waits: bool) -> float:
        """When (clock, s) no more of it is to be expected: sooner in mid-sentence, unless it waits for somebody."""
        quiet_at = max(self.last_at + stall_s, self.sounds_until)
        if waits or self.dead or self.sounds_complete or not self.said:
            return quiet_at
        return min(quiet_at, max(self.last_at, self.sounds_until) + DRY_S)

    def audio(self, data: bytes, rate: int, now: float) -> ReplyAudio | None:
        """Some more speech, s16le at `rate` (Hz); any number of bytes, halves of samples are joined."""
        self.last_at = now
        pcm = self._odd + data if self._odd else data
        if len(pcm) % SAMPLE_BYTES or self._odd:
            cut = len(pcm) - len(pcm) % SAMPLE_BYTES
            pcm, self._odd = pcm[:cut], pcm[cut:]
        if rate != OUTPUT_RATE:
            pcm = self._converted(pcm, rate)
        if not pcm:
            return None
        frame = AudioFrame(pcm, OUTPUT_RATE, self._samples)
        samples = len(pcm) // SAMPLE_BYTES
        self._samples += samples
        self.sent_s += samples / OUTPUT_RATE
        self._line.seconds = self.sent_s
        return ReplyAudio(self.id, frame)

    def words(self, text: str) -> ReplyText | None:
        """A fragment of its words; what may be half a word is kept back."""
        self._line.text += text
        held = self._rest + text
        if held.rstrip().endswith(_ENDS) or (len(held) > _MOST_HELD and " " not in held.strip()):
            cut = len(held)
        else:
            cut = held.rfind(" ") + 1
        self._rest = held[cut:]
        return self._text(held[:cut])

    def last_words(self) -> ReplyText | None:
        """What was kept back."""
        rest, self._rest = self._rest, ""
        return self._text(rest)

    def _text(self, text: str) -> ReplyText | None:
        return ReplyText(self.id, text.strip()) if text.strip() else None

    def _converted(self, pcm: bytes, rate: int) -> bytes:
        if rate not in RATES:
            return pcm
        if self._resampler is None or self._resampler.from_hz != rate:
            self._resampler = Resampler(rate, OUTPUT_RATE)
        return self._resampler.push(pcm)
