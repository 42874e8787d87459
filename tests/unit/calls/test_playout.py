"""Playout: whole frames, one voice at a time, and a true account of what was heard."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from trunkline.calls.playout import Playout, heard_text
from trunkline.codecs.g711 import PCMU

FRAME = 160
SILENCE = PCMU.silence


def playout(**more: float) -> Playout:
    return Playout(PCMU, 20, **more)


def drain(queue: Playout, limit: int = 1) -> bytes:
    payload = b""
    while piece := queue.pop(limit):
        payload += piece.payload
    return payload


def test_only_whole_frames_leave_and_the_end_is_filled_up() -> None:
    queue = playout()
    queue.start("a")
    queue.push("a", b"x" * 100)
    assert queue.pop() is None
    queue.push("a", b"y" * 100)
    piece = queue.pop(5)
    assert piece is not None
    assert piece.payload == b"x" * 100 + b"y" * 60
    assert (piece.first, piece.last) == (True, False)
    assert not queue.finish("a")
    piece = queue.pop(5)
    assert piece is not None
    assert piece.payload == b"y" * 40 + SILENCE * 120
    assert (piece.first, piece.last) == (False, True)
    assert queue.pop() is None


def test_a_reply_waits_for_the_one_before_and_its_speech_ends_that_one() -> None:
    queue = playout()
    queue.start("a")
    queue.start("b")
    queue.push("a", b"a" * 200)
    assert queue.pop() is not None
    assert queue.pop() is None
    queue.push("b", b"b" * 160)
    assert drain(queue) == b"a" * 40 + SILENCE * 120 + b"b" * 160
    assert not queue.push("a", b"late")
    assert queue.refused == 1


def test_dead_and_unknown_replies_are_refused_by_name() -> None:
    queue = playout()
    assert not queue.push("never started", b"x")
    queue.start("a")
    queue.push("a", b"a" * 320)
    queue.cut(0.0)
    assert not queue.push("a", b"x")
    assert not queue.text("a", "late")
    assert not queue.finish("a")
    assert queue.refused == 2
    assert queue.pop() is None


def test_heard_is_given_minus_dropped_over_several_replies() -> None:
    queue = playout()
    for name, size in (("a", 800), ("b", 1600), ("c", 800)):
        queue.start(name)
        queue.text(name, "one two three four")
        queue.push(name, b"x" * size)
        queue.finish(name)
    for _ in range(5 + 7):
        queue.pop()
    cuts = queue.cut(0.2)  # all 0.14 s of b, the last 0.06 s of a
    assert [(cut.reply, round(cut.heard_s, 3), cut.complete) for cut in cuts] == [
        ("a", 0.04, False), ("b", 0.0, False), ("c", 0.0, False)]  # fmt: skip
    assert [cut.heard_text for cut in cuts] == ["one two", "", ""]


def test_a_reply_that_was_given_and_not_dropped_was_heard() -> None:
    queue = playout()
    queue.start("a")
    queue.text("a", "all of it")
    queue.push("a", b"x" * 160)
    queue.finish("a")
    queue.pop()
    (cut,) = queue.cut(0.0)
    assert cut.complete
    assert cut.heard_text == "all of it"


def test_more_than_the_bound_closes_the_reply() -> None:
    queue = playout(bound_s=1.0)
    queue.start("a")
    assert queue.push("a", b"x" * 8000)
    assert not queue.push("a", b"x")
    assert not queue.accepts("a")
    assert queue.overflowed == 1
    assert len(drain(queue)) == 8000


@pytest.mark.parametrize(
    ("texts", "heard", "pushed", "ended", "expected"),
    [
        ([(0, "We are open.")], 0, 8000, True, ""),
        ([(0, "We are open.")], 8000, 8000, True, "We are open."),
        ([(0, "We are open.")], 4000, 8000, True, "We are"),
        ([(0, "We are open.")], 4000, 4000, False, "We are"),  # the rest of its speech is on its way
        ([(0, "One."), (8000, "Two.")], 8000, 16000, True, "One."),
        ([(0, "One."), (8000, "Two three four")], 14000, 16000, True, "One. Two three"),
        ([(0, "One"), (0, " two")], 8000, 8000, True, "One two"),
        ([(0, "Unsaid")], 0, 0, False, ""),
    ],
)
def test_heard_words(texts: list[tuple[int, str]], heard: int, pushed: int, ended: bool, expected: str) -> None:
    assert heard_text(texts, heard, pushed, 8000, ended=ended) == expected


@given(st.lists(st.tuples(st.integers(0, 9000), st.text(alphabet="ab ", max_size=20)), max_size=5), st.data())
def test_more_heard_is_never_fewer_words(texts: list[tuple[int, str]], data: st.DataObject) -> None:
    texts.sort()
    pushed = 9000
    less, more = sorted(data.draw(st.tuples(st.integers(0, pushed), st.integers(0, pushed))))
    few = heard_text(texts, less, pushed, 8000, ended=True)
    many = heard_text(texts, more, pushed, 8000, ended=True)
    assert many.startswith(few)


class Machine(RuleBasedStateMachine):
    """Any order of pushes, ends, pops and cuts: what leaves is what was pushed, in order, and heard adds up."""

    def __init__(self) -> None:
        super().__init__()
        self.queue = playout(bound_s=2.0)
        self.replies = 0
        self.pushed: dict[str, bytes] = {}
        self.given: dict[str, bytes] = {}
        self.dead: set[str] = set()
        self.cuts: dict[str, float] = {}

    @rule()
    def start(self) -> None:
        name = f"r{self.replies}"
        self.replies += 1
        self.queue.start(name)
        self.pushed[name] = self.given[name] = b""

    @precondition(lambda self: self.replies)
    @rule(data=st.data(), size=st.integers(0, 900))
    def push(self, data: st.DataObject, size: int) -> None:
        name = data.draw(st.sampled_from(sorted(self.pushed)))
        payload = bytes([1 + sorted(self.pushed).index(name) % 200]) * size
        refused, overflowed = self.queue.refused, self.queue.overflowed
        if self.queue.push(name, payload):
            assert name not in self.dead
            self.pushed[name] += payload
        else:
            assert (self.queue.refused, self.queue.overflowed) != (refused, overflowed), "a drop without a counter"

    @precondition(lambda self: self.replies)
    @rule(data=st.data())
    def finish(self, data: st.DataObject) -> None:
        self.queue.finish(data.draw(st.sampled_from(sorted(self.pushed))))

    @rule(limit=st.integers(1, 6))
    def pop(self, limit: int) -> None:
        piece = self.queue.pop(limit)
        if piece is None:
            return
        assert piece.reply not in self.dead
        assert 0 < len(piece.payload) <= limit * FRAME
        assert len(piece.payload) % FRAME == 0
        assert piece.first == (not self.given[piece.reply])
        self.given[piece.reply] += piece.payload
        given, pushed = self.given[piece.reply], self.pushed[piece.reply]
        assert given[: len(pushed)] == pushed[: len(given)]
        assert set(given[len(pushed) :]) <= set(SILENCE)
        if len(given) > len(pushed):
            assert piece.last

    @rule(share=st.floats(0, 1))
    def cut(self, share: float) -> None:
        live = [name for name in self.given if name not in self.dead]
        given = sum(len(self.given[name]) for name in live) / 8000
        dropped = share * given
        cuts = self.queue.cut(dropped)
        assert [cut.reply for cut in cuts] == live
        assert sum(cut.heard_s for cut in cuts) == pytest.approx(given - dropped, abs=0.001)
        assert all(cut.heard_s <= cut.given_s for cut in cuts)
        self.dead.update(live)

    @invariant()
    def never_more_than_the_bound(self) -> None:
        assert 0 <= self.queue.waiting_s <= 2.0


TestMachine = Machine.TestCase
