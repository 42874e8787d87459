"""The simulated telephone's signalling: two dialogs joined, with messages lost at will."""

from dataclasses import dataclass, field

import pytest

from trunkline_sim import sip_digest
from trunkline_sim.sip_dialog import Dialog
from trunkline_sim.sip_events import (
    Answered,
    Cancelled,
    Confirmed,
    Event,
    Left,
    Me,
    Offered,
    Rang,
    Referred,
    Refused,
    Replied,
    Told,
)
from trunkline_sim.sip_message import Message, parse, response

CALLER, CALLEE = Me("192.0.2.1", 5070, name="caller"), Me("192.0.2.2", 5060)
TARGET = "sip:4711@192.0.2.2"


@dataclass
class Pair:
    """A caller and, from its INVITE on, the one who is called. lost: how many messages of either never arrive."""

    caller: Dialog = field(
        default_factory=lambda: Dialog(
            CALLER, "c1", reliable=False, local="<sip:me@192.0.2.1>;tag=a", remote=f"<{TARGET}>", target=TARGET
        )
    )
    callee: Dialog | None = None
    now: float = 0.0
    lost: int = 0
    wire: list[Message] = field(default_factory=list)

    def run(self, dialog: Dialog, then: Dialog | None) -> list[Event]:
        events: list[Event] = []
        for data in dialog.out:
            message = parse(data)
            self.wire.append(message)
            if self.lost:
                self.lost -= 1
            elif then is not None:
                events += then.receive(message, self.now)
            elif message.method == "INVITE" and self.callee is None:
                self.callee = Dialog.called(message, CALLEE, reliable=False)
        dialog.out.clear()
        return events

    def settle(self) -> tuple[list[Event], list[Event]]:
        """What each was told, until nobody has anything to say."""
        ours: list[Event] = []
        theirs: list[Event] = []
        while self.caller.out or (self.callee is not None and self.callee.out):
            theirs += self.run(self.caller, self.callee)
            if self.callee is not None:
                ours += self.run(self.callee, self.caller)
        return ours, theirs

    def later(self, seconds: float) -> tuple[list[Event], list[Event]]:
        """Time passes."""
        ours: list[Event] = []
        theirs: list[Event] = []
        until = self.now + seconds
        while True:
            due = [d.deadline() for d in (self.caller, self.callee) if d is not None]
            at = min((at for at in due if at is not None), default=until)
            self.now = min(until, max(self.now, at))
            ours += self.caller.tick(self.now)
            theirs += self.callee.tick(self.now) if self.callee is not None else []
            more = self.settle()
            ours, theirs = ours + more[0], theirs + more[1]
            if self.now >= until:
                return ours, theirs

    def up(self) -> Dialog:
        """A call that is answered."""
        self.caller.invite(b"offer", self.now)
        self.settle()
        assert self.callee is not None
        self.callee.answer(b"answer", self.now)
        assert kinds(self.settle()) == ([Answered], [Confirmed])
        return self.callee

    def methods(self) -> list[str]:
        return [message.method or str(message.code) for message in self.wire]


def kinds(told: tuple[list[Event], list[Event]]) -> tuple[list[type], list[type]]:
    return [type(event) for event in told[0]], [type(event) for event in told[1]]


def test_a_call_from_invite_to_bye() -> None:
    pair = Pair()
    callee = pair.up()
    callee.bye(pair.now)
    assert kinds(pair.settle()) == ([Left], [Replied])
    assert pair.methods() == ["INVITE", "200", "ACK", "BYE", "200"]
    assert pair.caller.state == callee.state == "over"
    assert pair.caller.deadline() is None
    assert callee.deadline() is None


def test_bye_is_for_the_contact_and_has_the_tags_of_both() -> None:
    pair = Pair()
    pair.up()
    pair.caller.bye(pair.now)
    pair.settle()
    bye = pair.wire[-2]
    assert (bye.uri, bye.cseq) == ("sip:trunkline-sim@192.0.2.2:5060", (2, "BYE"))
    assert "tag=a" in bye.first("from")
    assert ";tag=" in bye.first("to")


@pytest.mark.parametrize("lost", [1, 2, 3])
def test_what_is_lost_is_said_again(lost: int) -> None:
    pair = Pair(lost=lost)
    pair.caller.invite(b"offer", 0.0)
    pair.settle()
    while pair.callee is None:
        pair.later(0.1)
    pair.callee.progress(100, "Trying")
    pair.settle()
    pair.later(10.0)
    assert pair.methods() == [*["INVITE"] * (lost + 1), "100"]


def test_a_lost_200_and_a_lost_ack_are_said_again() -> None:
    pair = Pair()
    pair.caller.invite(b"offer", 0.0)
    pair.settle()
    assert pair.callee is not None
    pair.lost = 1  # the 200
    pair.callee.answer(b"answer", 0.0)
    pair.settle()
    pair.lost = 0
    assert kinds(pair.later(0.6)) == ([Answered], [Confirmed])
    pair.lost = 0
    pair.callee.receive(pair.wire[0], pair.now)  # a late INVITE: the 200 again, and its ACK
    assert kinds(pair.settle()) == ([], [])
    assert pair.methods()[-2:] == ["200", "ACK"]


def test_nobody_answers_at_all() -> None:
    pair = Pair(lost=1000)
    pair.caller.invite(b"offer", 0.0)
    pair.settle()
    told, _ = pair.later(40.0)
    assert told == [Refused(0, "nobody answered")]
    assert len(pair.wire) == 7  # 0, 0.5, 1.5, 3.5, 7.5, 15.5, 31.5 s
    assert pair.caller.deadline() is None


def test_a_refusal_is_acknowledged_in_its_own_transaction() -> None:
    pair = Pair()
    pair.caller.invite(b"offer", 0.0)
    pair.settle()
    assert pair.callee is not None
    pair.callee.refuse(486, "Busy Here", 0.0, [("Retry-After", "5")])
    assert pair.settle()[0] == [Refused(486, "Busy Here")]
    invite, refusal, ack = pair.wire
    assert ack.method == "ACK"
    assert ack.branch == invite.branch
    assert ack.first("to") == refusal.first("to")
    assert pair.callee.deadline() is None


def test_a_caller_gives_up_once_something_came_back() -> None:
    pair = Pair()
    pair.caller.invite(b"offer", 0.0)
    pair.caller.cancel(0.0)  # nothing has come back yet
    pair.settle()
    assert pair.methods() == ["INVITE"]
    assert pair.callee is not None
    pair.callee.progress(180, "Ringing")
    assert kinds(pair.settle()) == ([Rang], [Cancelled])
    pair.callee.refuse(487, "Request Terminated", 0.0)
    assert pair.settle()[0] == [Refused(487, "Request Terminated")]
    assert pair.methods() == ["INVITE", "180", "CANCEL", "200", "487", "ACK"]
    assert pair.wire[2].branch == pair.wire[0].branch


def test_an_answer_that_crosses_the_cancel_is_hung_up() -> None:
    pair = Pair()
    pair.caller.invite(b"offer", 0.0)
    pair.settle()
    assert pair.callee is not None
    pair.caller.cancel(0.0)
    pair.callee.answer(b"answer", 0.0)
    told = pair.settle()
    assert isinstance(told[0][0], Refused)
    assert Left in kinds(told)[1]
    assert pair.callee.state == "over"


@pytest.mark.parametrize("code", [401, 407])
def test_credentials_are_given_once_they_are_asked_for(code: int) -> None:
    doorman = sip_digest.Doorman({"desk": "geheim"})
    ask, give = ("WWW-Authenticate", "authorization") if code == 401 else ("Proxy-Authenticate", "proxy-authorization")
    pair = Pair()
    pair.caller.invite(b"offer", 0.0, credentials=("desk", "geheim"))
    asked = parse(pair.caller.out.pop())
    pair.caller.receive(parse(response(asked, code, "Who?", [(ask, doorman.challenge())])), 0.0)
    ack, again = map(parse, pair.caller.out)
    assert (ack.method, again.cseq) == ("ACK", (2, "INVITE"))
    assert doorman.lets_in(again.first(give), "INVITE")
    assert not doorman.lets_in(again.first(give), "REGISTER")
    pair.caller.receive(parse(response(again, code, "No", [(ask, doorman.challenge())])), 0.0)
    assert pair.caller.state == "over"  # not a third time


def test_hold_a_new_offer_and_its_answer() -> None:
    pair = Pair()
    callee = pair.up()
    callee.offer(b"a=sendonly", 0.0)
    pair.run(callee, pair.caller)  # answered by its owner
    told = pair.caller.receive(pair.wire[-1], 0.0)  # said again before that: once is enough
    pair.caller.accept(b"a=recvonly", 0.0)
    assert kinds(pair.settle())[1] == [Replied]
    assert [event.body for event in pair.wire if event.code == 200][-1] == b"a=recvonly"
    assert pair.methods()[-1] == "ACK"
    assert kinds((told, [])) == ([Offered], [])


def test_a_refused_new_offer_is_acknowledged_with_its_own_branch() -> None:
    pair = Pair()
    callee = pair.up()
    callee.offer(b"a=sendonly", 0.0)
    (invite,) = map(parse, callee.out)
    callee.out.clear()
    (told,) = callee.receive(parse(response(invite, 488, "Not Acceptable Here")), 0.0)
    assert isinstance(told, Replied)
    assert (told.method, told.code) == ("INVITE", 488)
    assert parse(callee.out[0]).branch == invite.branch


def test_a_transfer_is_accepted_and_its_end_told() -> None:
    pair = Pair()
    callee = pair.up()
    pair.caller.ask("REFER", 0.0, [("Refer-To", "<sip:desk@192.0.2.9>")])
    assert pair.run(pair.caller, callee) == [Referred("sip:desk@192.0.2.9")]
    callee.referred(202, "Accepted", 200, 0.0)
    told, _ = pair.settle()
    replied, notified = told
    assert isinstance(replied, Replied)
    assert replied.code == 202
    assert isinstance(notified, Told)
    assert notified.message.body == b"SIP/2.0 200 OK\r\n"


@pytest.mark.parametrize("method", ["REFER", "INFO", "INVITE", "BYE"])
def test_a_request_that_comes_twice_is_told_once_and_answered_twice(method: str) -> None:
    pair = Pair()
    callee = pair.up()
    pair.caller.ask(method, 0.0, [("Refer-To", "<sip:desk@192.0.2.9>")])
    request = parse(pair.caller.out[0])
    assert len(callee.receive(request, 0.0)) == 1
    callee.referred(603, "Decline", 603, 0.0) if method == "REFER" else callee.accept(b"a", 0.0)
    (first,) = callee.out
    assert callee.receive(request, 0.0) == []
    assert callee.out == [first, first]


def test_a_dead_far_end_is_noticed_by_the_unanswered_bye() -> None:
    pair = Pair()
    pair.up()
    pair.lost = 1000
    pair.caller.bye(pair.now)
    pair.settle()
    assert pair.later(40.0)[0] == [Replied("BYE", 0)]


def test_no_ack_to_a_200_ends_the_call() -> None:
    pair = Pair()
    pair.caller.invite(b"offer", 0.0)
    pair.settle()
    assert pair.callee is not None
    pair.callee.answer(b"answer", 0.0)
    pair.callee.out.clear()
    pair.lost = 1000
    assert pair.later(40.0)[1] == [Left("no ACK")]


def test_requests_go_through_the_proxies_that_want_to_see_them() -> None:
    pair = Pair()
    pair.caller.invite(b"offer", 0.0)
    text = pair.caller.out.pop().replace(
        b"Max-Forwards", b"Record-Route: <sip:p1;lr>\r\nRecord-Route: <sip:p2;lr>\r\nM"
    )
    callee = Dialog.called(parse(text), CALLEE, reliable=False)
    callee.answer(b"answer", 0.0)
    answer = callee.out.pop()
    pair.caller.receive(parse(answer), 0.0)
    callee.receive(parse(pair.caller.out[0]), 0.0)
    callee.bye(0.0)
    assert [value for _, value in parse(callee.out[0]).every("route")] == ["<sip:p1;lr>", "<sip:p2;lr>"]
    assert [value for _, value in parse(pair.caller.out[0]).every("route")] == ["<sip:p2;lr>", "<sip:p1;lr>"]
