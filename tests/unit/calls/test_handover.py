"""A caller who gets to a person by a second line of ours: bridged, warm, declined, nobody there."""

from dataclasses import replace
from typing import Any

import pytest

from tests.unit.calls.fakes import PHRASES, FakeLeg, Line, now, until
from tests.unit.calls.test_telephone import ALLOWED, TelephoneLeg, line
from tests.virtual_time import virtual
from trunkline.ai.session import SessionLost, ToolCall
from trunkline.ai.tools import Json, Tool, ToolRequest
from trunkline.bridge.leg import Answered, Held, Moved, Resumed, Ringing
from trunkline.bridge.sip.profile import GATEWAY_LOST
from trunkline.bridge.telephony import Transferred
from trunkline.calls.events import Note
from trunkline.calls.telephone import GONE, SORRY, UNANSWERED
from trunkline.config import Failure
from trunkline.errors import AdmissionError, CarrierError, ProviderError
from trunkline.outcome import EndCause, Outcome

TARGET = ALLOWED[0]
QUOTA = ProviderError("quota exceeded", code="429")
FAILING = Failure(after_failure="transfer")
REFUSED = Transferred(False, 405, "Method Not Allowed", refused=True)


class SecondLeg(FakeLeg):
    """Somebody whom we call: rings, answers, presses, hangs up by the test's word."""

    def __init__(self) -> None:
        super().__init__()
        self.info = replace(self.info, direction="outbound", to=TARGET)
        self._events.get_nowait()
        self.post(Ringing())

    def answer(self) -> None:
        self.post(Answered())

    def refuse(self) -> None:
        self._finish(Outcome(EndCause.BUSY, "callee", "486 Busy Here"))


def two(**given: Any) -> tuple[TelephoneLeg, SecondLeg]:
    leg = TelephoneLeg(**given)
    leg.second = other = SecondLeg()
    return leg, other


def notes(made: Line) -> list[tuple[str, str]]:
    kinds = ("transfer", "warm_transfer", "transferred", "transfer_failed", "moved")
    return [(note.kind, note.text) for note in made.seen.of(Note) if note.kind in kinds]


def rings(leg: FakeLeg) -> int:
    """Seconds of sound that no session made: the fakes' replies are one byte each."""
    return round(sum(len(payload) for _, payload in leg.sent if len(set(payload)) > 2) / 8000)


def call_of(made: Line) -> str:
    return made.board.live()[0].id


@virtual
async def test_where_the_far_end_takes_no_refer_we_call_and_join() -> None:
    leg, other = two(result=REFUSED, takes_s=0.1)
    async with line(leg) as made:
        assert made.board.transfer(call_of(made), TARGET) == ""
        await until(10)
        assert [target for _, target in leg.placed] == [TARGET]
        assert rings(leg) >= 2, "the caller hears that it rings"
        other.answer()
        await until(12)
        assert leg.joined_at is not None
        assert other.ends == leg.ends == [], "both are up"
        assert made.session.closed, "the agent has left"
        sent = len(leg.sent)
        await until(600)
        assert len(leg.sent) == sent, "and says no more"
        assert made.board.active == 1, "the call goes on"
        leg.hang_up()
        record = await made.over()
    assert (record.cause, record.fault, record.code) == ("completed", "nobody", "transferred")
    assert record.labels["transferred_by"] == "bridged"
    assert notes(made) == [("transfer", TARGET), ("transferred", "bridged")]


@virtual
async def test_who_talks_to_somebody_else_is_handed_on_no_more_and_hears_no_keys() -> None:
    leg, other = two(result=REFUSED, takes_s=0.1)
    async with line(leg) as made:
        made.board.transfer(call_of(made), TARGET)
        await until(2)
        other.answer()
        await until(10)
        assert made.board.transfer(call_of(made), TARGET) == GONE
        assert made.board.send_digits(call_of(made), "1") == GONE


@virtual
async def test_joined_lines_that_are_lost_are_told_as_lost() -> None:
    leg, other = two(result=REFUSED, takes_s=0.1)
    async with line(leg) as made:
        made.board.transfer(call_of(made), TARGET)
        await until(2)
        other.answer()
        await until(10)
        leg._finish(GATEWAY_LOST)
        record = await made.over()
    assert (record.cause, record.fault, record.code) == ("media_lost", "us", "gateway lost")
    assert record.labels["transferred_by"] == "bridged"


@virtual
async def test_joined_lines_that_a_stop_of_the_service_cuts_are_told_as_drained() -> None:
    leg, other = two(result=REFUSED, takes_s=0.1)
    async with line(leg) as made:
        made.board.transfer(call_of(made), TARGET)
        await until(2)
        other.answer()
        await until(10)
        assert await made.board.drain(1) == 1
        record = await made.over()
    assert (record.cause, record.fault) == ("drained", "us")


@virtual
async def test_whom_we_call_is_handed_on_once_they_have_answered() -> None:
    leg = TelephoneLeg()
    leg.info = replace(leg.info, direction="outbound")
    leg._events.get_nowait()
    made = line(leg)
    made.provider.open_s = 1.0  # there is no session to wait for yet
    async with made:
        await until(1)
        assert made.board.transfer(call_of(made), TARGET) == UNANSWERED
        assert made.board.send_digits(call_of(made), "1") == UNANSWERED
        leg.post(Answered())
        await until(3)
        assert made.board.transfer(call_of(made), TARGET) == ""


@virtual
async def test_a_session_that_is_lost_while_it_rings_elsewhere_costs_no_transfer() -> None:
    leg, other = two(result=REFUSED, takes_s=0.1)
    async with line(leg, failure=Failure(give_up_s=2.0), phrases=PHRASES) as made:
        made.board.transfer(call_of(made), TARGET)
        await until(2)
        made.provider.failures = [QUOTA]
        made.session.emit(SessionLost("gone", True))
        await until(20)
        other.answer()
        await until(22)
        assert leg.joined_at is not None
        leg.hang_up()
        record = await made.over()
    assert record.code == "transferred"


@virtual
async def test_a_call_that_is_given_up_goes_to_a_person() -> None:
    leg, other = two(result=REFUSED, takes_s=0.1)
    async with line(leg, failure=FAILING, phrases=PHRASES) as made:
        await until(1)
        made.session.emit(SessionLost("quota exceeded", False))
        await until(9)
        assert [target for _, target in leg.placed] == [TARGET]
        assert 3.0 < leg.placed[0][0] < 5.0, "once the caller knows"
        other.answer()
        await until(60)
        assert leg.joined_at is not None
        assert other.ends == leg.ends == []
        leg.hang_up()
        record = await made.over()
    assert (record.cause, record.fault, record.code) == ("provider_failed", "provider", "quota exceeded")
    assert record.labels["transferred_by"] == "bridged"


@virtual
async def test_a_call_that_is_given_up_and_that_nobody_takes_ends_in_words() -> None:
    leg, other = two(result=REFUSED, takes_s=0.1)
    async with line(leg, failure=FAILING, phrases=PHRASES) as made:
        await until(1)
        made.session.emit(SessionLost("quota exceeded", False))
        await until(9)
        other.refuse()
        record = await made.over()
        assert 10 < now() < 15
    assert (record.cause, record.code) == ("provider_failed", "quota exceeded")
    assert record.turns[-1].heard_text.endswith("end")
    assert leg.ends
    assert other.ends


@virtual
async def test_a_call_that_is_given_up_and_whose_caller_leaves_while_it_rings() -> None:
    leg, other = two(result=REFUSED, takes_s=0.1)
    async with line(leg, failure=FAILING, phrases=PHRASES) as made:
        await until(1)
        made.session.emit(SessionLost("quota exceeded", False))
        await until(9)
        leg.hang_up()
        record = await made.over()
        assert now() < 10
    assert record.cause == "provider_failed"
    assert other.ends


@virtual
async def test_a_joined_call_can_be_ended_by_the_operator() -> None:
    leg, other = two(result=REFUSED, takes_s=0.1)
    async with line(leg) as made:
        made.board.transfer(call_of(made), TARGET)
        await until(2)
        other.answer()
        await until(10)
        made.board.hang_up(call_of(made))
        record = await made.over()
    assert record.code == "transferred"
    assert leg.ends


@virtual
async def test_the_far_ends_own_transfer_is_in_the_record_too() -> None:
    leg = TelephoneLeg(result=Transferred(True, 200, "OK", "refer"))
    async with line(leg) as made:
        made.board.transfer(call_of(made), TARGET)
        assert (await made.over()).labels["transferred_by"] == "refer"


@virtual
async def test_nobody_answers_and_the_caller_is_told_so() -> None:
    leg, other = two(result=REFUSED, takes_s=0.1)
    async with line(leg) as made:
        made.board.transfer(call_of(made), TARGET)
        await until(5)
        other.refuse()
        await until(6)
        assert ("say", SORRY) in made.session.prompts
        assert other.ends, "the second line is let go"
        assert notes(made)[-1] == ("transfer_failed", "486 Busy Here")
        assert made.board.transfer(call_of(made), TARGET) == "", "it may be tried again"


@virtual
@pytest.mark.parametrize(
    "error", [AdmissionError("all 4 SIP lines are taken"), CarrierError("no such trunk", code="404")]
)
async def test_a_second_line_that_cannot_be_had(error: Exception) -> None:
    leg = TelephoneLeg(result=REFUSED, takes_s=0.1)
    leg.second = error
    async with line(leg) as made:
        made.session.emit(ToolCall("t", "move", {"target": TARGET}, 0))
        await until(3)
        assert str(error) in made.session.results[0].error
        assert made.session.prompts == [], "the model tells the caller itself"


@virtual
async def test_a_caller_who_hangs_up_while_it_rings_takes_the_second_line_along() -> None:
    leg, other = two(result=REFUSED, takes_s=0.1)
    async with line(leg) as made:
        made.session.emit(ToolCall("t", "move", {"target": TARGET}, 0))
        await until(4)
        leg.hang_up()
        record = await made.over()
        assert now() < 5
    assert other.ends
    assert record.code == "Call ended"


# -- warm


@virtual
@pytest.mark.parametrize("by", ["key", "tool"])
async def test_the_person_hears_the_brief_first_and_takes_the_call(by: str) -> None:
    leg, other = two()
    async with line(leg) as made:
        assert made.board.transfer(call_of(made), TARGET, "Anna, about her invoice.") == ""
        await until(3)
        assert leg.transfers == [], "nobody is referred to somebody who does not know yet"
        assert made.provider.opened == 1, "nothing is said while it rings"
        other.answer()
        session = await made.provider.session(1)
        assert "Anna, about her invoice." in session.brief.greeting
        assert {tool.name for tool in session.brief.tools} == {"take_call", "decline_call"}
        session.say(1, "A call for you.", 2.0)
        await until(8)
        assert leg.joined_at is None
        assert other.wire(1), "they hear it"
        assert not leg.wire(1), "the caller does not"
        if by == "key":
            other.press("1")
        else:
            session.emit(ToolCall("x", "take_call", {}, 1))
        await until(9)
        assert leg.joined_at is not None
        assert other.ends == leg.ends == []
        await until(30)
        assert all(one.closed for one in made.provider.sessions)
        leg.hang_up()
        record = await made.over()
    assert record.labels["transferred_by"] == "bridged"
    assert notes(made) == [("warm_transfer", TARGET), ("transferred", "bridged")]


@virtual
@pytest.mark.parametrize("how", ["key", "hang_up", "busy", "silence"])
async def test_the_person_does_not_take_it_and_the_caller_is_back(how: str) -> None:
    leg, other = two()
    async with line(leg) as made:
        made.board.transfer(call_of(made), TARGET, "Anna.")
        await until(3)
        if how == "busy":
            other.refuse()
        else:
            other.answer()
            await made.provider.session(1)
            await until(6)
        if how == "key":
            other.press("2")
        elif how == "hang_up":
            other.hang_up()
        await until(120)
        assert leg.joined_at is None
        assert other.ends
        assert ("say", SORRY) in made.provider.sessions[0].prompts
        assert made.board.active == 1
    assert notes(made)[-1][0] == "transfer_failed"


@virtual
async def test_a_briefing_needs_room_for_its_session() -> None:
    leg, other = two()
    async with line(leg) as made:
        made.provider.capacity = 1
        made.board.transfer(call_of(made), TARGET, "Anna.")
        await until(5)
        assert made.provider.opened == 1
        assert "fake carries 1 calls at once" in notes(made)[-1][1]
        assert other.ends


# -- keys, and who is there


@virtual
async def test_keys_are_tones_where_the_line_takes_no_events_and_refused_on_hold() -> None:
    leg = TelephoneLeg()
    leg.events_taken = False
    async with line(leg) as made:
        call = call_of(made)
        assert made.board.send_digits(call, "12#") == ""
        await until(1)
        assert leg.sent
        leg.post(Held())
        await until(2)
        sent = len(leg.sent)
        assert "on hold" in str(made.board.send_digits(call, "1"))
        await until(3)
        assert len(leg.sent) == sent
        leg.post(Resumed())
        await until(4)
        assert made.board.send_digits(call, "1") == ""


@virtual
async def test_a_tool_is_told_that_nobody_would_hear_its_keys() -> None:
    async def press(request: ToolRequest) -> Json:
        await request.call.send_digits("1")
        return "sent"

    leg = TelephoneLeg()
    tool = Tool("press", "", {"type": "object", "properties": {}}, press)
    async with Line(leg=leg, tools=[tool]) as made:
        leg.post(Held())
        await until(1)
        made.session.emit(ToolCall("t", "press", {}, 0))
        await until(2)
        assert "on hold" in made.session.results[0].error
    assert leg.keys == []


@virtual
async def test_who_is_there_now_is_written_down() -> None:
    leg = TelephoneLeg()
    async with line(leg) as made:
        leg.post(Held())
        leg.post(Moved("sip:desk@pbx.example.com"))
        leg.post(Resumed())
        await until(1)
        assert notes(made) == [("moved", "sip:desk@pbx.example.com")]
