"""What the SIP churn says of calls and records, and how its telephone writes and reads."""

import json

import pytest

from bench.sip_churn import Lived, left_behind, wrong_records
from bench.sip_media import HEAD, PILOT, PULSE, Stream, _heard
from bench.sip_summary import told_churn
from bench.sip_words import Dialog, answer, code_of, media_of, sdp
from trunkline.bridge.sip.sip_text import SipText


def record(ref: str, cause: str, fault: str, ended_at: str | None = "now"):
    return {"carrier_ref": ref, "cause": cause, "fault": fault, "ended_at": ended_at}


@pytest.mark.parametrize(
    ("lived", "cause", "fault"),
    [
        (Lived("a", "talks", True, talked_s=9.0), "completed", "caller"),
        (Lived("a", "leaves at once", True, talked_s=0.1), "abandoned", "caller"),
        (Lived("a", "vanishes", True, talked_s=5.0), "media_lost", "carrier"),
        (Lived("a", "is transferred", True, talked_s=5.0), "completed", "nobody"),
    ],
)
def test_a_record_that_fits_is_none_of_the_wrong_and_another_is(lived, cause, fault):
    assert wrong_records([lived], [record("a", cause, fault)]) == []
    assert wrong_records([lived], [record("a", "internal", "us")])
    assert wrong_records([lived], [])
    assert wrong_records([lived], [record("a", cause, fault), record("a", cause, fault)])
    assert wrong_records([lived], [record("a", cause, fault, None)])


def test_a_call_that_was_cancelled_has_no_record_and_a_record_of_nobody_is_wrong():
    cancelled = Lived("a", "cancels", answered=False, code=487)
    assert wrong_records([cancelled], []) == []
    assert len(wrong_records([cancelled], [record("a", "abandoned", "caller")])) == 1
    assert wrong_records([], [record("b", "completed", "caller")]) == ["b: recorded, but never placed"]


def test_what_is_held_beyond_the_start_is_told_and_memory_is_not():
    before = {"gateway": {"rss_kb": 1, "fds": 4, "udp": 1}}
    assert left_behind(before, {"gateway": {"rss_kb": 9, "fds": 6, "udp": 1}}) == {"gateway fds": 2}


def test_a_dialog_of_requests():
    dialog = Dialog("+4912", "agent", "127.0.0.1:5070", "127.0.0.1:5060")
    invite = SipText.of(dialog.invite(sdp("127.0.0.1", 4000)))
    assert (invite.method, invite.cseq, invite.request_uri) == ("INVITE", 1, "sip:agent@127.0.0.1:5060")
    assert media_of(invite) == ("127.0.0.1", 4000)
    cancel = SipText.of(dialog.cancel())
    assert (cancel.first("via"), cancel.first("cseq")) == (invite.first("via"), "1 CANCEL")
    ringing = SipText.of(answer(invite, 180, "Ringing").replace("060>", "060>;tag=x") + "")
    assert code_of(ringing) == 180
    dialog.learn(ringing)
    bye = SipText.of(dialog.request("BYE"))
    assert (bye.cseq, bye.first("to").endswith("tag=x")) == (2, True)


def packet(number: int, payload: bytes) -> bytes:
    return HEAD.pack(0x80, 0, number & 0xFFFF, 0, 0) + payload


def test_sequence_numbers_go_on_beyond_their_round_and_a_pulse_is_timed_to_the_sample():
    stream = Stream(4000, 0, keep=True, pulsed=100.0)
    for number in (65534, 65535, 0, 2):
        _heard(stream, packet(number, PILOT), 1.0)
    assert list(stream.numbers) == [65534, 65535, 65536, 65538]
    assert (stream.empty, list(stream.delays)) == (0, [])
    _heard(stream, packet(3, PILOT[:80] + PULSE[:80]), 100.05)
    assert list(stream.delays) == [pytest.approx(0.06, abs=0.0005)]
    _heard(stream, packet(4, b"\xff" * 160), 1.0)
    assert stream.empty == 1


def test_a_run_that_was_cut_is_summarised():
    held = {role: {"rss_kb": 1024, "fds": 1, "udp": 0, "memfds": 0, "threads": 1} for role in
            ("gateway", "worker", "supervisor")}  # fmt: skip
    sample = {"held": held, "calls": 1, "live": 1, "load": 1.0, "late_beats": 0, "slots": 0, "sip_calls": 0, "tasks": 1,
              "cpu_s": dict.fromkeys(held, 0.0), "own_cpu_s": 0.0}  # fmt: skip
    lines = [json.dumps({"kind": kind, "at_s": at, **sample}) for at, kind in enumerate(("start", "sample", "last"))]
    plan = json.dumps({"kind": "plan", "at_s": 0, "rate": 1, "seed": 1})
    assert "1 calls in 2 s" in told_churn([plan, *lines, '{"kind": "sam'])
    assert told_churn([plan]) == "no samples yet"
