"""The caller's voice on its way in: decoded, losses concealed, cut into pieces of 10 to 200 ms. Pure."""

from collections.abc import MutableMapping, Sequence

from trunkline.bridge.dialect import WireAudio
from trunkline.codecs.codec import Codec
from trunkline.codecs.frame import SAMPLE_BYTES, AudioFrame

CONCEAL_S = 0.06  # a longer loss is a gap: guessed speech beyond this misleads a recogniser
LEAST_S = 0.01
MOST_S = 0.2


class Inbound:
    """One call's decoder and sample count. Counts into `counters`: lost_messages, concealed_ms, silence_filled_ms."""

    def __init__(self, codec: Codec, counters: MutableMapping[str, int]) -> None:
        self._counters = counters
        self._start = 0
        self.use(codec)

    def use(self, codec: Codec) -> None:
        """Go on with another codec (a stream described anew)."""
        self.codec = codec
        self._decoder = codec.decoder()
        self._decode = self._decoder.decode
        self._rate = codec.rate
        self._usual_bytes = codec.bytes_per_second // 50  # of one message, as last seen
        self._least = int(LEAST_S * codec.rate) * SAMPLE_BYTES
        self._most = int(MOST_S * codec.rate) * SAMPLE_BYTES
        self._held = b""

    def receive(self, audio: WireAudio) -> Sequence[AudioFrame]:
        """One message's audio, with what stands in for the messages lost before it."""
        payload = audio.payload
        if audio.lost:
            before, pcm = self.rest(), self._after_loss(audio)  # what was held stands before the gap, not behind it
        else:
            before, pcm = (), self._decode(payload)
        self._usual_bytes = len(payload)
        if before or self._held or not self._least <= len(pcm) <= self._most:
            return (*before, *self._pieces(pcm))
        return (self._frame(pcm),)

    def silence(self, seconds: float) -> AudioFrame:
        """Silence where the wire said nothing."""
        self._count("silence_filled_ms", seconds)
        return self._frame(bytes(int(seconds * self.codec.rate) * SAMPLE_BYTES))

    def rest(self) -> Sequence[AudioFrame]:
        """What was too short to be handed out; at the end."""
        held, self._held = self._held, b""
        return (self._frame(held),) if held else ()

    def _after_loss(self, audio: WireAudio) -> bytes:
        self._counters["lost_messages"] = self._counters.get("lost_messages", 0) + audio.lost
        missing = audio.lost * self._usual_bytes / self.codec.bytes_per_second
        concealed = min(missing, CONCEAL_S)
        self._count("concealed_ms", concealed)
        stand_in = self._decoder.conceal(round(concealed * self.codec.rate))
        pcm = stand_in + self._decode(audio.payload)
        self._start += round((missing - concealed) * self.codec.rate)  # the rest is a jump, never hidden
        return pcm

    def _pieces(self, pcm: bytes) -> Sequence[AudioFrame]:
        pcm = self._held + pcm
        frames = []
        while len(pcm) >= self._least:
            frames.append(self._frame(pcm[: self._most]))
            pcm = pcm[self._most :]
        self._held = pcm
        return frames

    def _frame(self, pcm: bytes) -> AudioFrame:
        start = self._start
        self._start = start + len(pcm) // SAMPLE_BYTES
        return AudioFrame(pcm, self._rate, start)

    def _count(self, name: str, seconds: float) -> None:
        self._counters[name] = self._counters.get(name, 0) + round(seconds * 1000)
