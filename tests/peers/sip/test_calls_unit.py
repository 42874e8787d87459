"""The gateway's rules about one call, with pjsua2 there but no call: time is handed in."""

from types import SimpleNamespace

import pytest

from tests.peers.sip.rig import needs
from trunkline.bridge.sip import messages as wire
from trunkline.bridge.sip.journal import Journal
from trunkline.bridge.sip.options import Options, Trunk

pytestmark = pytest.mark.peers


@pytest.fixture
def calls():
    needs()
    from trunkline.bridge.sip.gateway_calls import Calls
    from trunkline.bridge.sip.registry import Registry

    return Calls(Registry(), None, Journal(""), lambda _: None, None)


def leg_of(told: list[object], ended: list[object]):
    from trunkline.bridge.sip.gateway_leg import Leg

    call = SimpleNamespace(
        index=0,
        port=None,
        partner=None,
        over=False,
        hangup=ended.append,
        destroy=lambda: ended.append("destroyed") is None,
    )
    leg = Leg(1, call, True, "c1", link=SimpleNamespace(send=told.append, calls={1}), taken=True)
    leg.answered = leg.told_up = leg.media = True
    return leg


def Referred(code: int, reason: str, *, final: bool):  # noqa: N802
    from trunkline.bridge.sip.callbacks import Referred

    return Referred(code, reason, final)


def quality(packets: int) -> wire.Quality:
    return wire.Quality(1, "PCMU", packets, 0, 0, 0, 0, 0, 0, 0, 4.4)


def test_only_a_silence_as_long_as_that_ends_a_call(calls, monkeypatch):
    heard = [0, 50, 100, 100, 150, 150, 150, 150]  # packets, second by second
    ended: list[object] = []
    leg = leg_of([], ended)
    monkeypatch.setattr("trunkline.bridge.sip.gateway_calls.quality", lambda *_: quality(heard[int(now)]))
    for now in (0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0):
        calls.look(leg, now, Options(media_timeout_s=3.0))
    assert not ended
    now = 7.0
    calls.look(leg, now, Options(media_timeout_s=3.0))
    assert len(ended) == 1
    assert (leg.by, leg.note) == ("gateway", "media timeout")


def test_a_call_on_hold_may_be_silent(calls, monkeypatch):
    ended: list[object] = []
    leg = leg_of([], ended)
    leg.held = True
    monkeypatch.setattr("trunkline.bridge.sip.gateway_calls.quality", lambda *_: quality(5))
    for now in range(100):
        calls.look(leg, float(now), Options(media_timeout_s=3.0))
    assert not ended


def asked_to_refer(calls, monkeypatch, heard, *, until: int, **options):
    """A far end that took our REFER at 2 s. heard: packets until then, by the second."""
    told: list[object] = []
    ended: list[object] = []
    leg = leg_of(told, ended)
    now = 0
    monkeypatch.setattr("trunkline.bridge.sip.gateway_calls.quality", lambda *_: quality(heard(now)))
    for now in range(until):
        if now == 2:
            calls.event(leg, Referred(202, "Accepted", final=False), 2.0)
        calls.look(leg, float(now), Options(refer_s=20.0, quality_s=1000.0, **options))
    words = [(one.code, one.final) for one in told if isinstance(one, wire.ReferProgress)]
    return leg, words, ended


def test_a_far_end_that_has_taken_our_refer_and_falls_silent_is_with_the_target(calls, monkeypatch):
    silent = lambda now: 50 * min(now, 3)  # noqa: E731
    _, words, ended = asked_to_refer(calls, monkeypatch, silent, until=22, media_timeout_s=3.0)
    assert (words, ended) == ([(202, False)], [])
    leg, words, ended = asked_to_refer(calls, monkeypatch, silent, until=24, media_timeout_s=3.0)
    assert (words, ended) == ([(202, False), (wire.UNCONFIRMED, True)], [])
    leg, _, ended = asked_to_refer(calls, monkeypatch, silent, until=30, media_timeout_s=3.0)
    assert len(ended) == 1, "its worker has not ended it"
    assert (leg.by, leg.note) == ("gateway", "media timeout")


@pytest.mark.parametrize(
    ("heard", "media_timeout_s"),
    [(lambda now: 50 * now, 3.0), (lambda now: 50 * max(3, now - 12), 3.0), (lambda now: 5, 0.0)],
    ids=["talks on", "is back", "silence says nothing"],
)
def test_without_a_word_a_far_end_that_is_heard_is_still_here(calls, monkeypatch, heard, media_timeout_s):
    _, words, ended = asked_to_refer(calls, monkeypatch, heard, until=30, media_timeout_s=media_timeout_s)
    assert (words, ended) == ([(202, False), (408, True)], [])


def test_after_a_refer_that_failed_the_far_end_has_time_to_come_back(calls, monkeypatch):
    """It is told as busy after a silence that would have ended the call."""
    ended: list[object] = []
    leg = leg_of([], ended)
    now = 0
    monkeypatch.setattr("trunkline.bridge.sip.gateway_calls.quality", lambda *_: quality(7))
    calls.event(leg, Referred(202, "Accepted", final=False), 0.0)
    for now in range(13):
        if now == 10:
            calls.event(leg, Referred(486, "Busy Here", final=True), 10.0)
        calls.look(leg, float(now), Options(media_timeout_s=3.0))
    assert not ended
    calls.look(leg, 13.0, Options(media_timeout_s=3.0))
    assert len(ended) == 1


def test_a_bye_that_nobody_answers_does_not_keep_the_worker_waiting(calls):
    told: list[object] = []
    ended: list[object] = []
    leg = leg_of(told, ended)
    calls._registry.add(leg)
    calls.end(leg, "us", 0, "")
    for _ in range(19):
        calls.look(leg, 0.0, Options())
    assert told == []
    for _ in range(3):
        calls.look(leg, 0.0, Options())
    assert told == [wire.Gone(1, 200, "", "us", True)]
    for _ in range(620):
        calls.look(leg, 0.0, Options())
    assert ended[-1] == "destroyed"
    assert told == [wire.Gone(1, 200, "", "us", True)]
    assert len(calls._registry) == 0


def test_a_call_whose_number_is_another_ones_by_now_is_destroyed_after_that_one(calls):
    destroyed: list[str] = []
    legs = [leg_of([], []) for _ in range(2)]
    for number, (leg, name) in enumerate(zip(legs, ("before", "now"), strict=True), 1):
        leg.number = number
        leg.call.destroy = lambda name=name: (name == "now" or "now" in destroyed) and not destroyed.append(name)
        calls._registry.add(leg)
    for leg in legs:
        calls._registry.destroy(leg)
    assert destroyed == ["now", "before"]


def test_who_is_over_is_not_hung_up(calls):
    ended: list[object] = []
    leg = leg_of([], ended)
    leg.call.over = True
    calls.end(leg, "us", 0, "")
    assert not ended


def test_keys_that_wait_are_bounded(calls):
    leg = leg_of([], [])
    for _ in range(1000):
        calls.command(leg, wire.SendDigits(1, "1"), 0.0)
    assert len(leg.keys) == 100


def test_who_is_joined_goes_nowhere_else(calls):
    """The far end's REFER rings while its worker joins it with somebody: two targets would hang on one line."""
    legs = [leg_of([], []) for _ in range(3)]
    for number, leg in enumerate(legs, 1):
        leg.number = leg.call.number = number
        leg.call.wire = leg.call.unwire = lambda: None
        leg.link = legs[0].link
        calls._registry.add(leg)
    one, other, child = legs
    one.refers, child.referrer, child.link = child, one, None
    calls.command(one, wire.Join(1, 2), 0.0)
    assert one.call.partner is other.call
    assert (one.refers, child.referrer) == (None, None)
    assert child.ending is not None
    assert one.ending is other.ending is None


def test_a_join_that_fails_half_way_ends_both(calls):
    import pjsua2 as pj

    def fails() -> None:
        raise pj.Error()

    one, other = leg_of([], []), leg_of([], [])
    other.link = one.link
    for number, leg in enumerate((one, other), 1):
        leg.number = leg.call.number = number
        leg.call.unwire, leg.call.wire = lambda: None, fails
        calls._registry.add(leg)
    calls.command(one, wire.Join(1, 2), 0.0)
    assert one.ending is not None
    assert other.ending is not None


def test_a_transfer_to_what_cannot_be_dialled_is_answered_at_once(calls):
    told: list[object] = []
    leg = leg_of(told, [])
    leg.call.xfer = lambda *_: None
    calls._accounts = SimpleNamespace(trunks={})
    calls.command(leg, wire.Refer(1, "tel:+3591"), 0.0)
    assert told == [wire.ReferProgress(1, 500, "digits alone are dialled through a trunk", final=True)]


def test_a_call_that_is_gone_is_replaced_by_nobody(calls):
    """Its number is no address: the far end is not sent to the trunk itself."""
    told: list[object] = []
    sent: list[object] = []
    leg = leg_of(told, [])
    leg.trunk, leg.call.xfer = "acme", lambda *given: sent.append(given)
    calls._accounts = SimpleNamespace(trunks={"acme": Trunk(name="acme", host="sip.example.com")})
    calls.command(leg, wire.Refer(1, "", replaces=2), 0.0)
    assert sent == []
    assert told == [wire.ReferProgress(1, 500, "the call that is to be replaced is gone", final=True)]
