"""Calls on telephone lines: transfers, keys, hold, the line's quality."""

import asyncio
from typing import Any

import pytest

from tests.unit.calls.fakes import FakeLeg, Line, now, until
from tests.virtual_time import virtual
from trunkline.ai.session import ToolCall
from trunkline.ai.tools import Json, Tool, ToolRequest
from trunkline.bridge.leg import CallLeg, Held, Resumed
from trunkline.bridge.targets import may_transfer, usual_target
from trunkline.bridge.telephony import LineQuality, Transferred
from trunkline.calls.events import Note
from trunkline.calls.telephone import CANNOT
from trunkline.config import Limits
from trunkline.errors import AdmissionError
from trunkline.metrics import Metrics

ALLOWED = ("+918069000000", "+9198*", "sip:*@pbx.example.com")


class TelephoneLeg(FakeLeg):
    """A far end that takes REFER."""

    def __init__(self, *, result: Transferred | None = None, takes_s: float = 2.0) -> None:
        super().__init__()
        self.result = result or Transferred(True, 200, "OK")
        self.takes_s = takes_s
        self.transfers: list[tuple[float, str]] = []
        self.keys: list[str] = []
        self.told: LineQuality | None = None
        self.events_taken = True
        self.placed: list[tuple[float, str]] = []
        self.second: CallLeg | Exception = AdmissionError("all 4 SIP lines are taken")
        self.joining = Transferred(True, how="bridged")
        self.joined_at: float | None = None

    async def transfer(self, target: str) -> Transferred:
        self.transfers.append((now(), target))
        async with asyncio.TaskGroup() as group:  # a hang-up ends the wait, as the real one's does
            asked = group.create_task(asyncio.sleep(self.takes_s))
            gone = group.create_task(self._over.wait())
            await asyncio.wait({asked, gone}, return_when=asyncio.FIRST_COMPLETED)
            over = gone.done()
            asked.cancel()
            gone.cancel()
        return Transferred(False, reason="gone") if over else self.result

    async def place(self, target: str) -> CallLeg:
        self.placed.append((now(), target))
        if isinstance(self.second, Exception):
            raise self.second
        return self.second

    async def join(self, other: CallLeg) -> Transferred:
        self.joined_at = now()
        return self.joining

    def send_digits(self, keys: str) -> bool:
        if self.events_taken:
            self.keys.append(keys)
        return self.events_taken

    def quality(self) -> LineQuality | None:
        return self.told


def line(leg: FakeLeg | None = None, **given: Any) -> Line:
    async def move(request: ToolRequest) -> Json:
        await request.call.transfer(str(request.arguments.get("target")))
        return "transferred"

    schema: Json = {"type": "object", "properties": {"target": {"type": "string"}}}
    tool = Tool("move", "", schema, move, timeout=75.0, effect="write")  # type: ignore[arg-type]
    return Line(leg=leg or TelephoneLeg(), tools=[tool], transfer_to=ALLOWED, **given)


def notes(made: Line) -> list[tuple[str, str]]:
    kinds = ("transfer", "transferred", "transfer_failed", "held", "resumed", "digits_sent")
    return [(note.kind, note.text) for note in made.seen.of(Note) if note.kind in kinds]


@virtual
async def test_the_caller_is_handed_on_once_the_last_word_was_heard() -> None:
    leg = TelephoneLeg()
    async with line(leg) as made:
        call = made.board.live()[0].id
        made.session.say(1, "I am putting you through.", 2.0)
        await until(0.5)
        assert made.board.transfer(call, "+919800000001") == ""
        record = await made.over()
        assert [target for _, target in leg.transfers] == ["+919800000001"]
        assert 2.0 <= leg.transfers[0][0] < 2.4, "not in the middle of a sentence"
        assert now() < 5.0
    assert (record.cause, record.fault, record.code) == ("completed", "nobody", "transferred")
    assert notes(made) == [("transfer", "+919800000001"), ("transferred", "")]


@virtual
async def test_an_agent_who_does_not_stop_talking_is_cut() -> None:
    leg = TelephoneLeg()
    async with line(leg) as made:
        made.session.say(1, "And another thing.", 30.0)
        await until(0.5)
        made.board.transfer(made.board.live()[0].id, "+919800000001")
        await made.over()
        assert 8.0 < leg.transfers[0][0] < 9.0


@virtual
async def test_a_tool_learns_that_nobody_took_the_call_and_the_call_goes_on() -> None:
    leg = TelephoneLeg(result=Transferred(False, 486, "Busy Here"), takes_s=20.0)
    async with line(leg, limits=Limits(silence_prompt_s=5)) as made:
        made.session.emit(ToolCall("t", "move", {"target": "sip:desk@pbx.example.com"}, 0))
        await until(23)
        (result,) = made.session.results
        assert "486 Busy Here" in result.error
        assert made.session.prompts == [], "nobody is asked whether they are there while it rings elsewhere"
        assert made.board.transfer(made.board.live()[0].id, "+919800000001") == "", "it may be tried again"
    assert notes(made)[:2] == [("transfer", "sip:desk@pbx.example.com"), ("transfer_failed", "486 Busy Here")]


@virtual
async def test_a_tool_is_refused_what_the_operator_does_not_allow() -> None:
    leg = TelephoneLeg()
    async with line(leg) as made:
        made.session.emit(ToolCall("t", "move", {"target": "+35991234567"}, 0))
        await until(2)
        assert "may not be transferred" in made.session.results[0].error
        assert "may not be transferred" in str(made.board.transfer(made.board.live()[0].id, "+35991234567"))
    assert leg.transfers == []


@virtual
async def test_one_transfer_at_a_time() -> None:
    async with line(TelephoneLeg(takes_s=20)) as made:
        call = made.board.live()[0].id
        assert made.board.transfer(call, "+919800000001") == ""
        await until(2)
        assert made.board.transfer(call, "+919800000002") == "A transfer is going on already."


@virtual
async def test_lines_that_cannot_say_so() -> None:
    async with line(FakeLeg()) as made:
        assert made.board.transfer(made.board.live()[0].id, "+919800000001") == CANNOT
    assert made.board.transfer("call_x", "+919800000001") is None


@virtual
async def test_a_call_that_ends_before_the_transfer_begins_ends_at_once() -> None:
    leg = TelephoneLeg()
    async with line(leg) as made:
        made.session.say(1, "One moment.", 5.0)
        await until(1)
        made.session.emit(ToolCall("t", "move", {"target": "+919800000001"}, 0))
        await until(1.5)
        leg.hang_up()
        await made.over()
        assert now() < 3, "nobody waits for a tool that waits for nothing"
    assert leg.transfers == []


@virtual
async def test_a_hang_up_during_the_transfer_ends_the_call() -> None:
    leg = TelephoneLeg(takes_s=60)
    async with line(leg) as made:
        made.session.emit(ToolCall("t", "move", {"target": "+919800000001"}, 0))
        await until(3)
        assert leg.transfers
        leg.hang_up()
        await made.over()
        assert now() < 4


@virtual
async def test_keys_are_events_on_a_telephone_line_and_tones_elsewhere() -> None:
    leg = TelephoneLeg()
    async with line(leg) as made:
        assert made.board.send_digits(made.board.live()[0].id, "12#") == ""
        await until(1)
        assert (leg.keys, leg.sent) == (["12#"], [])
        assert made.board.send_digits("call_x", "1") is None
    other = FakeLeg()
    async with line(other) as made:
        began = now()
        assert made.board.send_digits(made.board.live()[0].id, "12#") == ""
        await until(began + 1)
        assert other.sent
    assert notes(made) == [("digits_sent", "3")]


@virtual
async def test_on_hold_nobody_is_asked_whether_they_are_there() -> None:
    leg = TelephoneLeg()
    async with line(leg, limits=Limits(silence_prompt_s=5)) as made:
        leg.post(Held())
        await until(30)
        assert made.session.prompts == []
        leg.post(Resumed())
        await until(40)
        assert ("silence", "") in made.session.prompts
    assert notes(made) == [("held", ""), ("resumed", "")]


@virtual
async def test_the_lines_quality_is_in_the_record_and_among_the_figures() -> None:
    leg = TelephoneLeg()
    leg.told = LineQuality("PCMU/8000", 950, 50, 12.0, 0, 40.0, 3.7)
    async with line(leg) as made:
        leg.hang_up()
        record = await made.over()
    assert record.labels == {
        "line_codec": "PCMU/8000", "line_loss": "0.0500", "line_jitter_ms": "12.0", "line_rtt_ms": "40.0",
        "line_mos": "3.70",
    }  # fmt: skip
    metrics = Metrics()
    for event in made.seen.events:
        metrics.notify(record.id, event)
    text = metrics.render().decode()
    assert "trunkline_line_mos_sum 3.7" in text
    assert "trunkline_line_loss_ratio_sum 0.05" in text
    assert "trunkline_line_jitter_seconds_sum 0.012" in text


@pytest.mark.parametrize(
    ("target", "yes"),
    [
        ("+918069000000", True),
        ("+91 80690-00000", True),
        ("+919800000001", True),
        ("+918069000001", False),
        ("sip:desk@pbx.example.com", True),
        ("SIP:Desk@PBX.example.com", True),
        ("sip:desk@evil.example", False),
        ("sip:desk@pbx.example.com.evil.example", False),
        ("sip:desk@evil.example?x=@pbx.example.com", False),
        ("sip:a@evil.example;x=@pbx.example.com", False),
        ("sip:desk@pbx.example.com;maddr=192.0.2.1", False),
        ("sip:desk@pbx.example.com?Replaces=x", False),
        ("+9198@evil.example", False),
        ("+9198;phone-context=evil", False),
        ("+9198\r\nX-Evil: 1", False),
        ("+9198:secret", False),
        ("sip:a b@pbx.example.com", False),
        ("", False),
    ],
)
def test_who_may_be_called(target: str, yes: bool) -> None:
    assert may_transfer(target, ALLOWED) == yes


def test_nobody_unless_somebody_is_named() -> None:
    assert not may_transfer("+918069000000", ())
    assert may_transfer("1001", ("*",))


@pytest.mark.parametrize("target", ["sip:evil.example", "sips:192.0.2.1", "tel:+3591", "1001 2\n3x"])
def test_any_number_is_no_address(target: str) -> None:
    assert not may_transfer(target, ("*",))


def test_a_name_with_a_dot_is_another_name() -> None:
    assert not may_transfer("de.sk", ("desk",))
    assert may_transfer("1-001", ("1001",))


def test_the_usual_target_is_the_first_that_is_no_pattern() -> None:
    assert usual_target(("+9198*", "+918069000000", "1001")) == "+918069000000"
    assert usual_target(("*",)) == usual_target(()) == ""
