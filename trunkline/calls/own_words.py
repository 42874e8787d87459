"""What the service itself says in a call, when nobody else can: from sentences that lie ready."""

from dataclasses import dataclass

from trunkline.calls.events import CallbackOwed, Note
from trunkline.calls.journal import Journal
from trunkline.calls.lifeline import After
from trunkline.calls.sentences import Kind, Phrases
from trunkline.calls.speech import Reply, Speech
from trunkline.codecs.codec import Codec
from trunkline.codecs.tones import Country, dtmf, progress_tone
from trunkline.outcome import Outcome

LONGEST_LAST_WORDS_S = 20.0  # behind what was being said already
RING_S = 1.0  # of one ring
PAUSE_S = 0.3  # between two sentences
AFTER_S = 0.3  # between the last word heard and the hang-up


@dataclass(slots=True)
class LastWords:
    """They are being said; nothing but a hang-up stops them. Times: clock, s."""

    outcome: Outcome
    key: str  # of their reply; "": there was nothing to say
    until: float
    waits: bool = False  # for somebody who takes the call: words that were heard end nothing

    def heard(self, key: str, now: float) -> None:
        """A reply was heard to its end."""
        if key == self.key and not self.waits:
            self.until = min(self.until, now + AFTER_S)


class OwnWords:
    """One call's own sentences."""

    def __init__(self, phrases: Phrases, speech: Speech, journal: Journal, codec: Codec) -> None:
        self._phrases = phrases
        self._speech = speech
        self._journal = journal
        self._codec = codec
        self._pause = codec.silence * round(PAUSE_S * codec.bytes_per_second / len(codec.silence))
        self._count = 0

    def say(self, *kinds: Kind, turn: int, within: str = "") -> str:
        """Say the sentences one after the other, behind what is being said: as a reply of our own, or `within` one that
        falters and may yet go on. The reply's key; "" when there is nothing to say."""
        clips = [self._phrases[kind] for kind in kinds if kind in self._phrases]
        self._journal.counters["sentences_missing"] += len(kinds) - len(clips)
        if not clips:
            return ""
        key = within or self._begun(turn)
        for number, clip in enumerate(clips):
            if number:
                self._speech.payload(key, self._pause)
            self._speech.text(key, clip.text)
            self._speech.payload(key, clip.payload(self._codec))
        if not within:
            self._speech.end(key)
        self._journal.counters["sentences_said"] += len(clips)
        self._journal.emit(Note(self._journal.now(), "own_words", " ".join(kinds)))
        return key

    def last(self, outcome: Outcome, after: After, turn: int, now: float, caller: str) -> LastWords:
        """Say the last ones. A call back is owed from here on, whether or not the promise is heard to its end; a call
        that they put through waits for its transfer."""
        waiting_s = self._speech.waiting_s(now)
        key = self.say("last_words", after, turn=turn)
        if after == "callback":
            self._journal.emit(CallbackOwed(self._journal.now(), caller, outcome.code))
        if after == "transfer":
            return LastWords(outcome, key, float("inf"), waits=True)
        return LastWords(outcome, key, now + (waiting_s + LONGEST_LAST_WORDS_S if key else 0.0))

    def keys(self, keys: str, *, turn: int) -> None:
        """Play keys of a telephone to the far end."""
        key = self._begun(turn)
        self._speech.payload(key, self._codec.encoder().encode(dtmf(keys, self._codec.rate)))
        self._speech.end(key)

    def ring(self, country: Country, *, turn: int) -> None:
        """Let the caller hear that it rings elsewhere, unless there is something to be heard already."""
        if self._speech.audible():
            return
        key = self._begun(turn)
        self._speech.payload(
            key, self._codec.encoder().encode(progress_tone("ringback", country, RING_S, self._codec.rate))
        )
        self._speech.end(key)

    def _begun(self, turn: int) -> str:
        self._count += 1
        key = f"own/{self._count}"
        self._speech.start(Reply(key, None, turn))
        return key
