"""What waits to be said, already as the carrier's payload, reply by reply. Pure: no clock, no I/O.

It knows how many seconds of each reply were given to the carrier, so that a cut can say what was heard
(given − dropped) and which words that was. A reply that was cut is gone: speech still arriving for it is refused
by its name, whatever the timing.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from trunkline.calls.pieces import Piece
from trunkline.codecs.codec import Codec

BOUND_S = 120.0  # speech that may wait; more is refused and the reply closed
_CHARS_PER_S = 15.0  # of speech whose end is not known yet


@dataclass(frozen=True, slots=True)
class Cut:
    """What became of one reply when the speech was cut."""

    reply: str
    heard_s: float
    heard_text: str
    given_s: float  # what the carrier had been given of it
    complete: bool  # heard to its end


@dataclass(slots=True)
class _Reply:
    id: str
    queue: deque[bytes] = field(default_factory=deque)
    waiting: int = 0  # bytes in the queue
    given: int = 0  # bytes, padding included
    texts: list[tuple[int, str]] = field(default_factory=list)  # (byte position at which it begins, text)
    finished: bool = False

    @property
    def pushed(self) -> int:
        return self.given + self.waiting

    @property
    def all_given(self) -> bool:
        return self.finished and not self.waiting


class Playout:
    """One call's waiting speech. Replies are spoken one after the other, in the order in which they were started."""

    def __init__(self, codec: Codec, frame_ms: int, bound_s: float = BOUND_S) -> None:
        self._rate = codec.bytes_per_second
        self._frame = codec.bytes_per_second * frame_ms // 1000
        self._silence = codec.silence
        self._bound = int(bound_s * self._rate)
        self._waiting = 0
        self._replies: dict[str, _Reply] = {}  # started and not yet settled: in order
        self.refused = 0  # pushes for a reply that is dead or was never started
        self.overflowed = 0  # replies closed because BOUND_S of speech was waiting

    def start(self, reply: str) -> None:
        """A reply begins; only started replies are accepted."""
        self._replies.setdefault(reply, _Reply(reply))

    def text(self, reply: str, text: str) -> bool:
        """The words of what is pushed from here on. False when the reply is dead."""
        if found := self._replies.get(reply):
            found.texts.append((found.pushed, text))
        return found is not None

    def last_words(self, reply: str) -> str:
        """The newest piece of its words; "" where none are known."""
        found = self._replies.get(reply)
        return found.texts[-1][1].strip() if found and found.texts else ""

    def accepts(self, reply: str) -> bool:
        """False when the reply is dead, finished, or was never started: its late speech is refused and counted."""
        found = self._replies.get(reply)
        if found is None or found.finished:
            self.refused += 1
            return False
        return True

    def push(self, reply: str, payload: bytes) -> bool:
        """Speech of a reply: payload of the codec, any size. False when refused (and counted)."""
        found = self._replies.get(reply)
        if found is None or found.finished:
            self.refused += 1
            return False
        if self._waiting + len(payload) > self._bound:
            self.overflowed += 1
            found.finished = True
            return False
        self._close_earlier(reply)
        if payload:
            found.queue.append(payload)
            found.waiting += len(payload)
            self._waiting += len(payload)
        return True

    def finish(self, reply: str) -> bool:
        """No more speech for this reply. True when nothing of it is left to be given, so no `last` piece will come."""
        found = self._replies.get(reply)
        if found is None:
            return False
        found.finished = True
        return not found.waiting

    def pop(self, limit: int = 1) -> Piece | None:
        """Up to `limit` whole frames of the reply whose turn it is; None when nothing can be given now.

        A reply's last frame is filled up with silence. A later reply waits until the earlier one is finished.
        """
        for reply in self._replies.values():
            if reply.all_given:
                continue
            if reply.waiting >= self._frame or reply.finished:
                return self._take(reply, self._frame * limit)
            return None
        return None

    def settle(self, reply: str) -> Cut | None:
        """The reply was heard to its end: forget it. None when it is dead. Words without sound were not heard."""
        found = self._replies.pop(reply, None)
        if found is None:
            return None
        self._waiting -= found.waiting
        return self._cut(found, found.given, complete=found.given > 0 or not found.texts)

    def cut(self, dropped_s: float) -> tuple[Cut, ...]:
        """The carrier forgot the newest `dropped_s` seconds it was given: every live reply ends here, oldest first."""
        dropped = round(dropped_s * self._rate)
        cuts: list[Cut] = []
        for reply in reversed(list(self._replies.values())):
            lost = min(dropped, reply.given)
            dropped -= lost
            heard = reply.given - lost
            cuts.append(self._cut(reply, heard, complete=reply.all_given and not lost and heard > 0))
        self._replies.clear()
        self._waiting = 0
        return tuple(reversed(cuts))

    def live(self) -> bool:
        """True while a reply is started and not settled."""
        return bool(self._replies)

    def audible(self) -> Iterator[str]:
        """Live replies of which something was given or waits to be."""
        return (reply.id for reply in self._replies.values() if reply.pushed)

    def given_s(self, reply: str) -> float:
        """Seconds of a live reply given so far, 0.0 for a dead one."""
        found = self._replies.get(reply)
        return found.given / self._rate if found else 0.0

    @property
    def empty(self) -> bool:
        """Whether nothing waits."""
        return not self._waiting

    @property
    def waiting_s(self) -> float:
        """Seconds of speech that wait."""
        return self._waiting / self._rate

    def _close_earlier(self, reply: str) -> None:
        """One voice: when a reply speaks, those started before it have nothing more to say."""
        for other in self._replies.values():
            if other.id == reply:
                return
            other.finished = True

    def _take(self, reply: _Reply, most: int) -> Piece:
        first = reply.given == 0
        if len(reply.queue) == 1 and reply.waiting <= most and not reply.waiting % self._frame:
            payload = self._only(reply)
            return Piece(reply.id, payload, first, reply.finished)
        parts, size = [], 0
        while reply.queue and size < most:
            part = reply.queue.popleft()
            if len(part) > most - size:
                reply.queue.appendleft(part[most - size :])
                part = part[: most - size]
            parts.append(part)
            size += len(part)
        payload = self._whole_frames(reply, b"".join(parts))
        reply.given += len(payload)
        return Piece(reply.id, payload, first, reply.all_given)

    def _only(self, reply: _Reply) -> bytes:
        """All that waits: whole frames in one piece, as a model's speech comes."""
        payload = reply.queue.popleft()
        reply.waiting = 0
        reply.given += len(payload)
        self._waiting -= len(payload)
        return payload

    def _whole_frames(self, reply: _Reply, payload: bytes) -> bytes:
        """Fill the reply's end up with silence; put an unfinished rest back."""
        reply.waiting -= len(payload)
        self._waiting -= len(payload)
        rest = len(payload) % self._frame
        if not rest:
            return payload
        if reply.finished:
            return payload + self._silence * ((self._frame - rest) // len(self._silence))
        reply.queue.appendleft(payload[-rest:])
        reply.waiting += rest
        self._waiting += rest
        return payload[:-rest]

    def _cut(self, reply: _Reply, heard: int, *, complete: bool) -> Cut:
        text = (
            _text(reply.texts)
            if complete
            else heard_text(reply.texts, heard, reply.pushed, self._rate, ended=reply.finished)
        )
        return Cut(reply.id, heard / self._rate, text, reply.given / self._rate, complete)


def heard_text(texts: list[tuple[int, str]], heard: int, pushed: int, rate: int, *, ended: bool) -> str:
    """The whole words among the first `heard` bytes of a reply.

    texts: (byte position at which the words begin, words), ascending; pushed: bytes known of the reply; rate: bytes
    per second. Within a span the letters are taken to be spread evenly; while the reply has not `ended`, its last
    span, whose speech may still be on its way, is taken to last at least as long as its letters need.
    """
    said: list[tuple[int, str]] = []
    for at, end, text in _spans(texts, pushed, rate, ended=ended):
        if heard <= at:
            break
        said.append((at, text if heard >= end else _words(text, (heard - at) / (end - at))))
    return _text(said)


def _spans(texts: list[tuple[int, str]], pushed: int, rate: int, *, ended: bool) -> Iterator[tuple[int, int, str]]:
    """(begin, end, text) in bytes; texts that begin at the same place are one."""
    merged: dict[int, str] = {}
    for at, text in texts:
        merged[at] = join(merged[at], text) if at in merged else text
    starts = list(merged)
    for index, (at, text) in enumerate(merged.items()):
        if index + 1 < len(starts):
            yield at, starts[index + 1], text
        else:
            expected = 1 if ended else int(rate * len(text) / _CHARS_PER_S)
            yield at, max(pushed, at + expected), text


def _words(text: str, fraction: float) -> str:
    """The words of which all letters lie within the first `fraction` of the text."""
    letters = int(len(text) * fraction)
    if letters >= len(text) or text[letters : letters + 1].isspace():
        return text[:letters].rstrip()
    return text[: text.rfind(" ", 0, letters) + 1].rstrip()


def join(left: str, right: str) -> str:
    """Two pieces of text as one; a blank between them where neither brings one."""
    if not left or not right or left[-1].isspace() or right[0].isspace():
        return left + right
    return f"{left} {right}"


def _text(texts: list[tuple[int, str]]) -> str:
    joined = ""
    for _, text in texts:
        joined = join(joined, text)
    return joined.strip()
