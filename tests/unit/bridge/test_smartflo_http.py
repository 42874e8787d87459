"""Smartflo over HTTP: the dynamic endpoint and web hooks in every shape operators give them."""

import json
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trunkline.bridge.carriers.smartflo_http import endpoint_answer, endpoint_request, webhook_fact
from trunkline.bridge.webhook import FINAL
from trunkline.errors import ProtocolError

HANGUP = {
    "event": "hangup",
    "uuid": "u-1",
    "call_id": "1776875353.216650",
    "ref_id": "6f01",
    "direction": "clicktocall",
    "call_status": "Answered",
    "customer_number": "9800000001",
    "caller_id_number": "918069000000",
    "call_to_number": "9800000001",
    "start_stamp": "2026-03-01 12:00:00",
    "answer_stamp": "2026-03-01 12:00:09",
    "end_stamp": "2026-03-01 12:01:24",
    "duration": "84",
    "billsec": "75",
    "hangup_cause_key": "NORMAL_CLEARING",
    "recording_url": "",
    "custom_identifier": '{"call_token":"abc"}',
}
DOLLARS = {f"${key}": value for key, value in HANGUP.items()}


@pytest.mark.parametrize("fields", [HANGUP, DOLLARS], ids=["plain", "dollars"])
@pytest.mark.parametrize("shape", ["json", "json-untyped", "json-twice", "list", "form", "query"])
def test_a_hangup_in_every_shape(fields: dict[str, str], shape: str) -> None:
    body, kind, query = b"", "", None
    match shape:
        case "json":
            body, kind = json.dumps(fields).encode(), "application/json; charset=utf-8"
        case "json-untyped":
            body, kind = b"\xef\xbb\xbf" + json.dumps(fields).encode(), "application/json"
        case "json-twice":
            body, kind = json.dumps(json.dumps(fields)).encode(), "text/plain"
        case "list":
            body = json.dumps([fields]).encode()
        case "form":
            body, kind = urlencode(fields).encode(), "application/x-www-form-urlencoded"
        case _:
            query = fields
    fact = webhook_fact(body, kind, query)
    assert (fact.carrier, fact.call_ref, fact.ref_id) == ("smartflo", "1776875353.216650", "6f01")
    assert (fact.event, fact.status, fact.duration_s) == ("hangup", "completed", 75.0)
    assert (fact.from_, fact.to) == ("+918069000000", "+919800000001")
    assert fact.parameters["call_token"] == "abc"
    assert "recording_url" not in fact.raw
    assert fact == webhook_fact(body, kind, query)


def hook(**fields: Any) -> Any:
    return webhook_fact(json.dumps({"call_id": "c1", **fields}).encode())


@pytest.mark.parametrize(
    ("event_type", "event", "status"),
    [("RINGING", "ringing", "ringing"), ("ANSWERED", "answered", "answered"), ("HANGUP", "hangup", "completed")],
)
def test_the_earlier_body(event_type: str, event: str, status: str) -> None:
    fact = hook(event_type=event_type)
    assert (fact.call_ref, fact.event, fact.status) == ("c1", event, status)


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"event": "Call received on Server"}, "ringing"),
        ({"event": "Call Dialed on Agent"}, "ringing"),
        ({"event": "Call answered on IVR"}, "answered"),
        ({"event": "Call answered by Customer (Click to call)"}, "answered"),
        ({"event": "Call missed by Customer (Click to Call)"}, "no_answer"),
        ({"event": "Call answered by Agent (Hangup)"}, "completed"),
        ({"event": "Call hangup (Answered)"}, "completed"),
        ({"event": "Call hangup (Missed)"}, "no_answer"),
        ({"event": "Call hangup (Missed or Answered)", "call_status": "Answered"}, "completed"),
        ({"event": "Call hangup (Missed or Answered)", "call_status": "Missed"}, "no_answer"),
        ({"event": "hangup", "call_status": "Missed", "hangup_cause_key": "USER_BUSY"}, "busy"),
        ({"event": "hangup", "call_status": "Missed", "hangup_cause_code": "21"}, "rejected"),
        ({"event": "hangup", "call_status": "Missed", "hangup_cause_key": "ORIGINATOR_CANCEL"}, "canceled"),
        ({"event": "hangup", "call_status": "Missed", "hangup_cause_key": "UNALLOCATED_NUMBER"}, "failed"),
        ({"event": "hangup", "billsec": "0"}, "no_answer"),
        ({"event": "DTMF Option", "digits_dialed": "5"}, ""),
        ({"event": "Disposition Status Updated (Dialer)"}, ""),
        ({"call_status": "Answered"}, "answered"),
        ({"call_status": "Answered", "end_stamp": "x"}, "completed"),
        ({"call_status": "Missed"}, "no_answer"),
    ],
)
def test_states(fields: dict[str, str], status: str) -> None:
    assert hook(**fields).status == status


@pytest.mark.parametrize("absent", ["", "$ref_id", "null", None, "  "])
def test_unfilled_variables_are_absent(absent: Any) -> None:
    fact = hook(event="answered", ref_id=absent, customer_number="$customer_number", custom_identifier="$custom")
    assert (fact.ref_id, fact.from_, dict(fact.parameters)) == ("", "", {})
    assert set(fact.raw) == {"call_id", "event"}


def test_the_same_statement_has_the_same_id_and_another_has_not() -> None:
    one = hook(event="answered", answer_stamp="12:00:00", extra="1")
    assert one.fact_id == hook(event="answered", answer_stamp="12:00:00", extra="2").fact_id
    others = [
        hook(event="answered", answer_stamp="12:00:01"),
        hook(event="hangup", answer_stamp="12:00:00"),
        hook(event="answered", answer_stamp="12:00:00", call_id="c2"),
        hook(event="dtmf", digits_dialed="1"),
        hook(event="dtmf", digits_dialed="2"),
    ]
    assert len({one.fact_id, *(fact.fact_id for fact in others)}) == 6


def test_numbers_of_both_directions() -> None:
    inbound = hook(event="answered", direction="inbound", customer_number="09800000001", call_to_number="8069000000")
    assert (inbound.from_, inbound.to) == ("+919800000001", "+918069000000")
    plain = hook(event="ringing", **{"from": "+91 98000 00001", "to": "918069000000"})
    assert (plain.from_, plain.to) == ("+919800000001", "+918069000000")


def test_nested_values_stay_json() -> None:
    fact = hook(event="answered", call_flow=[{"type": "ivr"}], billsec="00:01:15")
    assert json.loads(fact.raw["call_flow"]) == [{"type": "ivr"}]
    assert fact.duration_s == 75.0


def test_the_secret_is_not_kept() -> None:
    fact = webhook_fact(b"", "", {"secret": "s3cr3t", "call_id": "c1", "event": "answered"})
    assert "s3cr3t" not in repr(fact)


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "names no call"),
        (b'{"event":"hangup"}', "names no call"),
        (b'{"call_id":"c1"}', "says not what happened"),
        (b"{", "not a JSON object"),
        (b"[]", "not a JSON object"),
        (b'{"a":"\xff"}', "not UTF-8"),
        (b"hello", "neither JSON nor a form"),
        (b"\x00\xff", "neither JSON nor a form"),
    ],
)
def test_what_is_wrong_is_named(body: bytes, says: str) -> None:
    with pytest.raises(ProtocolError, match=says):
        webhook_fact(body)


@settings(max_examples=200, deadline=None)
@given(st.binary() | st.dictionaries(st.sampled_from([*HANGUP]), st.text() | st.integers() | st.none()).map(
    lambda pairs: json.dumps(pairs).encode()
), st.sampled_from(["", "application/json", "application/x-www-form-urlencoded"]))  # fmt: skip
def test_any_body_is_a_fact_or_a_protocol_error(body: bytes, content_type: str) -> None:
    endpoint_request({}, body, content_type)
    try:
        fact = webhook_fact(body, content_type)
    except ProtocolError:
        return
    assert fact.status in {"", "queued", "ringing", "answered", *FINAL}


@pytest.mark.parametrize("dollar", ["", "$"])
def test_endpoint_request(dollar: str) -> None:
    fields = {"callId": "c1", "fromNumber": "9800000001", "toNumber": "8069000000", "status": "$status", "shop": "7"}
    fields = {dollar + key: value for key, value in fields.items()}
    for request in (
        endpoint_request(fields),
        endpoint_request({}, json.dumps(fields).encode(), "application/json"),
        endpoint_request({}, urlencode(fields).encode(), "application/x-www-form-urlencoded"),
    ):
        assert (request.call_ref, request.from_, request.to) == ("c1", "+919800000001", "+918069000000")
        assert (request.status, request.parameters) == ("", {"shop": "7"})


def test_an_odd_endpoint_request_still_gets_its_answer() -> None:
    assert endpoint_request({"callId": "c1"}, b"\x00garbage").call_ref == "c1"


def test_endpoint_answer() -> None:
    assert endpoint_answer("wss://h/smartflo/t") == {"success": True, "wss_url": "wss://h/smartflo/t"}
    assert endpoint_answer("wss://h/smartflo/t?a=1", {"call": "c 1"}) == {
        "success": True,
        "wss_url": "wss://h/smartflo/t?a=1&call=c+1",
    }


def test_the_answered_address_stays_short_whatever_was_asked() -> None:
    odd = {"long": "x" * 100_000, "n" * 300: "1", **{f"p{n}": "y" * 50 for n in range(500)}, "ok": "1"}
    asked = endpoint_request({"order": "7"}, json.dumps({"callId": "c" * 9000, **odd}).encode(), "application/json")
    answer = endpoint_answer("wss://bot.example.com/media/smartflo/t", asked.parameters)
    assert "order=7" in str(answer["wss_url"])
    assert len(str(answer["wss_url"])) < 5000
    assert len(asked.call_ref) == 256
    assert "long" in asked.left_out
    assert max(map(len, asked.left_out)) <= 100
