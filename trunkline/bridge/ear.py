"""The caller's voice as a leg hands it on: what came, silence where nothing came, never more than a second of it."""

from trunkline.bridge.channel import Channel
from trunkline.bridge.dialect import WireAudio
from trunkline.bridge.inbound import Inbound
from trunkline.bridge.telling import Telling
from trunkline.codecs.codec import Codec
from trunkline.codecs.frame import SAMPLE_BYTES, AudioFrame

EAR_S = 1.0  # audio held for a consumer that is late
SILENT_S = 0.3  # a wire silent for longer is filled up
FILL_S = 0.1  # silence given at a time
LATE_S = 0.05  # a look that is later than this: we stood still, not the wire
LOOK_S = 0.02  # what waits in the socket is read within this


class Ear:
    """One leg's voice from the wire, for one consumer: `audio`. Time is handed in."""

    def __init__(self, codec: Codec, telling: Telling, now: float) -> None:
        """telling: what is dropped, concealed and filled in is counted there."""
        self.audio: Channel[AudioFrame] = Channel(EAR_S)
        self.silence_at = now + SILENT_S  # when to `fill`, should nothing come before
        self._owed_from = self.silence_at
        self._looked = False  # again, behind a late look
        self._telling = telling
        self._inbound = Inbound(codec, telling.counters)

    @property
    def codec(self) -> Codec:
        """Of the wire."""
        return self._inbound.codec

    @property
    def behind(self) -> bool:
        """The consumer should have its turn before more comes."""
        return self.audio.held > EAR_S / 2

    def use(self, codec: Codec) -> None:
        """Go on with another codec."""
        self._inbound.use(codec)

    def heard(self, audio: WireAudio, now: float) -> None:
        """One message's audio."""
        self.silence_at = self._owed_from = now + SILENT_S
        self._looked = False
        for frame in self._inbound.receive(audio):
            self._put(frame)

    def fill(self, now: float) -> None:
        """Silence, if it is time for it. A process that slept owes no hours of it; and where we stood still, words may
        wait in the socket, into which no silence belongs: it is looked again when they were read."""
        if now < self.silence_at:
            return
        if now > self.silence_at + LATE_S and not self._looked:
            self._looked, self.silence_at = True, now + LOOK_S
            return
        self.silence_at = self._owed_from = max(self._owed_from + FILL_S, now - EAR_S)
        self._looked = self.silence_at <= now
        self._put(self._inbound.silence(FILL_S))

    def close(self) -> None:
        """No more: what was too short to be handed out, then the end."""
        for frame in self._inbound.rest():
            self._put(frame)
        self.audio.close()

    def _put(self, frame: AudioFrame) -> None:
        dropped = self.audio.put(frame, len(frame.pcm) / (SAMPLE_BYTES * frame.rate))
        if dropped:
            self._telling.count("audio_dropped_ms", round(dropped * 1000))
