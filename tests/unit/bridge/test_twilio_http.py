"""Twilio over HTTP: signatures against its own library and the published vectors, TwiML, callbacks."""

from collections.abc import Mapping
from urllib.parse import parse_qsl, urlencode
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twilio.request_validator import RequestValidator

from trunkline.bridge.carrier_http import CarrierRequest, Ways
from trunkline.bridge.carriers import carriers_http
from trunkline.bridge.carriers.twilio_http import busy, connect, question, sign, spellings, unsigned, webhook_fact
from trunkline.bridge.webhook import CallStatus, state_of
from trunkline.config import Carriers, Twilio
from trunkline.errors import ProtocolError
from trunkline_sim import twilio_http as platform

TOKEN = "twilio-token"
SDK = RequestValidator(TOKEN)
FORM = "application/x-www-form-urlencoded"
CALL = "https://bridge.example.com/webhooks/twilio/status?tenant=7"
FIELDS = {"CallDuration": "42", "CallSid": "CA00000000000000000000000000000001", "CallStatus": "completed",
          "From": "+15005550006", "To": "+919800000001"}  # fmt: skip
HANDSHAKE = "wss://bridge.example.com/media/twilio"
JSON = "https://bridge.example.com/webhooks/twilio/json"
HASH = "bodySHA256=015abd7f5cc57a2dd94b7590f04ad8084273905ee33ec5cebeae62276a97f862"


def request(
    url: str, signature: str = "", body: bytes | Mapping[str, str] = b"", kind: str = FORM, method: str = "POST"
) -> CarrierRequest:
    data = body if isinstance(body, bytes) else urlencode(body).encode()
    query = dict(parse_qsl(url.partition("?")[2], keep_blank_values=True))
    return CarrierRequest(method, url, {"x-twilio-signature": signature, "content-type": kind}, query, data)


VECTORS = [
    (CALL, FIELDS, FORM, "POST", "RHY6Za5CpdPnxcY+2KLM6yGcXxc="),
    (HANDSHAKE, b"", "", "GET", "8rpo0u71DI5HNR4Xb0aSJha6KEI="),
    (f"{JSON}?{HASH}", b'{"a":1}', "application/json", "POST", "6z0Bu7UOMndFS5Ji4keUQ9pem6k="),
]


@pytest.mark.parametrize(("url", "body", "kind", "method", "signature"), VECTORS, ids=["form", "handshake", "json"])
def test_the_published_vectors(url: str, body: bytes, kind: str, method: str, signature: str) -> None:
    good = request(url, signature, body, kind, method)
    assert unsigned(good, (TOKEN,)) == ""
    assert unsigned(good, ("another", TOKEN)) == "", "either token, while it is being changed"
    assert "auth_token" in unsigned(good, ("another",))
    for wrong in (signature[:-2] + "A=", "é", "x" * 10_000):
        assert "public_url" in unsigned(request(url, wrong, body, kind, method), (TOKEN,))
    assert "no header" in unsigned(request(url, "", body, kind, method), (TOKEN,))
    for elsewhere in (url + "&x=1", url.replace("bridge", "evil"), url.replace("://", "s://"), url.upper(), ""):
        assert unsigned(request(elsewhere, signature, body, kind, method), (TOKEN,)) != ""


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)


@given(fields=st.lists(st.tuples(TEXTS.filter(bool), TEXTS), max_size=6), port=st.sampled_from(["", ":443", ":8443"]))
def test_every_form_that_twilio_s_library_signs_is_believed(fields: list[tuple[str, str]], port: str) -> None:
    class Multi(dict[str, str]):
        def getall(self, name: str) -> list[str]:
            return [value for one, value in fields if one == name]

    url = f"https://bridge.example.com{port}/webhooks/twilio?a=%20b"
    signature = SDK.compute_signature(url, Multi(fields))
    body = urlencode(fields).encode()
    assert unsigned(request(url, signature, body), (TOKEN,)) == ""
    assert platform.sign(TOKEN, url, fields) == signature == sign(TOKEN, url, fields)
    if len(dict(fields)) == len(fields):
        assert SDK.validate(url, dict(fields), sign(TOKEN, url, fields))
    assert unsigned(request(url, signature, body + b"&Planted=1"), (TOKEN,)) != ""


def test_with_and_without_the_port() -> None:
    for signed in ("https://b.example.com/x", "https://b.example.com:443/x"):
        for asked in ("https://b.example.com/x", "https://b.example.com:443/x"):
            assert unsigned(request(asked, SDK.compute_signature(signed, {})), (TOKEN,)) == ""
    behind = request("https://b.example.com:8443/x", SDK.compute_signature("https://b.example.com/x", {}))
    assert unsigned(behind, (TOKEN,)) == "", "Twilio's library tries without any port, too"
    other = request("https://b.example.com/x", SDK.compute_signature("https://b.example.com:8443/x", {}))
    assert unsigned(other, (TOKEN,)) != ""
    assert spellings("wss://[::1]:9/x") == ("wss://[::1]:9/x", "wss://[::1]/x", "wss://[::1]:443/x")


def test_a_body_is_vouched_for_by_its_hash_or_not_at_all() -> None:
    url = f"{JSON}?{HASH}"
    signature = SDK.compute_signature(url, {})
    assert "bodySHA256" in unsigned(request(url, signature, b'{"a":2}', "application/json"), (TOKEN,))
    bare = request(JSON, SDK.compute_signature(JSON, {}), b'{"a":1}', "application/json")
    assert "vouched for" in unsigned(bare, (TOKEN,))
    sneaked = request(JSON, SDK.compute_signature(JSON, {}), b"CallSid=CA1", "text/plain")
    assert "vouched for" in unsigned(sneaked, (TOKEN,))


def test_shared_keys_sign_with_sha256() -> None:
    signature = SDK.compute_signature(CALL, FIELDS, "HMAC_SHA256")
    asked = request(CALL, signature, FIELDS)
    with_key = CarrierRequest(
        "POST", CALL, {**asked.headers, "X-Twilio-Webhooks-Signature-Settings": "key=k1,algorithm=HMAC_SHA256"},
        asked.query, asked.body,
    )  # fmt: skip
    assert unsigned(with_key, (TOKEN,)) == ""
    assert unsigned(asked, (TOKEN,)) != ""
    odd = CarrierRequest("GET", CALL, {**asked.headers, "X-Twilio-Webhooks-Signature-Settings": "algorithm=MD5"})
    assert "HMAC_SHA256" in unsigned(odd, (TOKEN,))


def test_too_many_fields_are_not_summed_up() -> None:
    body = "&".join(f"a{n}=1" for n in range(2000)).encode()
    assert "1000 fields" in unsigned(request(CALL, "x", body), (TOKEN,))


def test_without_a_token_the_secret_decides() -> None:
    assert carriers_http(Carriers())["twilio"].unsigned is None
    row = carriers_http(Carriers(twilio=Twilio(auth_token=TOKEN)))["twilio"]
    assert row.unsigned is not None
    assert row.unsigned(request(*VECTORS[0][:1], VECTORS[0][4], FIELDS)) == ""


# -- the answer document

WAYS = Ways("wss://b.example.com/media/twilio/t", "https://b.example.com/webhooks/twilio?secret=a&b")


def test_what_the_operator_typed_goes_along_and_twilio_s_own_names_do_not() -> None:
    asked = question(request("https://b.example.com/answer/twilio?campaign=spring&secret=s", body={
        "CallSid": "CA1", "From": "+15005550006", "To": "+918069000000", "Direction": "inbound", "CallerCity": "X",
        "CallStatus": "ringing"}))  # fmt: skip
    assert (asked.call_ref, asked.from_, asked.to, asked.status) == ("CA1", "+15005550006", "+918069000000", "ringing")
    assert asked.parameters == {"campaign": "spring"}
    found = platform.read_twiml("", connect(asked, WAYS).body.decode())
    assert found.url == WAYS.socket
    assert found.status_callback == WAYS.webhook
    assert found.parameters == {
        "campaign": "spring", "from": "+15005550006", "to": "+918069000000", "direction": "inbound"
    }  # fmt: skip


@pytest.mark.parametrize("body", [b"", b"{", b"\xff\xfe", b"[1]", b"=" * 9])
def test_an_odd_question_is_answered_too(body: bytes) -> None:
    asked = question(request("https://b.example.com/answer/twilio", body=body, kind="application/json"))
    assert platform.read_twiml("", connect(asked, WAYS).body.decode()).parameters == {}


def test_what_a_parameter_cannot_carry_is_left_out_and_named() -> None:
    long, odd = "x" * 500, "a%00b"
    asked = question(request(f"https://b.example.com/answer/twilio?fits={'y' * 495}&long={long}&odd={odd}"))
    assert list(asked.parameters) == ["fits"]
    assert asked.left_out == ("long", "odd")
    assert platform.read_twiml("", connect(asked, WAYS).body.decode()).parameters == asked.parameters


@given(st.dictionaries(st.from_regex(r"[a-z][\w <&\"']{0,9}", fullmatch=True), st.text(max_size=30), max_size=4))
def test_any_parameter_makes_sound_xml(parameters: dict[str, str]) -> None:
    url = "https://b.example.com/answer/twilio?" + urlencode(parameters, errors="replace")
    asked = question(request(url))
    root = ElementTree.fromstring(connect(asked, WAYS).body)
    assert root.tag == "Response"
    assert len(root.findall("Connect/Stream/Parameter")) == len(asked.parameters)
    ElementTree.fromstring(busy(asked, "--> & <" + "".join(parameters.values())).body)


def test_busy_for_a_call_that_rings_and_the_end_for_one_we_placed() -> None:
    for direction, tag in (("inbound", "Reject"), ("", "Reject"), ("outbound-api", "Hangup")):
        asked = question(request("https://b.example.com/", body={"CallSid": "CA1", "Direction": direction}))
        (verb,) = ElementTree.fromstring(busy(asked, "all 5 lines are taken").body)
        assert verb.tag == tag
        assert verb.get("reason") == ("busy" if tag == "Reject" else None)


# -- callbacks


def fact(**fields: str) -> tuple[str, str, int | None]:
    found = webhook_fact(request("https://b.example.com/webhooks/twilio", body={"CallSid": "CA1", **fields}))
    return found.event, found.status, found.sequence


@pytest.mark.parametrize(
    ("said", "status"),
    [("queued", "queued"), ("initiated", "queued"), ("ringing", "ringing"), ("in-progress", "answered"),
     ("answered", "answered"), ("completed", "completed"), ("busy", "busy"), ("no-answer", "no_answer"),
     ("failed", "failed"), ("canceled", "canceled"), ("something-new", "")],
)  # fmt: skip
def test_call_states_in_our_words(said: str, status: str) -> None:
    assert fact(CallStatus=said, SequenceNumber="2") == (said.replace("-", "_"), status, 2)


def test_streams_and_answering_machines_are_told_of_at_the_same_address() -> None:
    assert fact(StreamEvent="stream-stopped", StreamSid="MZ1", CallStatus="in-progress") == ("stream_stopped", "", None)
    assert fact(AnsweredBy="machine_start", MachineDetectionDuration="2100") == ("answered_by", "", None)
    found = webhook_fact(request(CALL, body=FIELDS))
    assert (found.from_, found.to, found.duration_s) == ("+15005550006", "+919800000001", 42.0)
    assert found.parameters == {"tenant": "7"}


def identity(**fields: str) -> str:
    return webhook_fact(request("https://b.example.com/", body={"CallSid": "CA1", **fields})).fact_id


def test_one_statement_is_one_fact_however_it_is_delivered() -> None:
    ringing = {"CallStatus": "ringing", "SequenceNumber": "1"}
    assert identity(**ringing, Timestamp="a") == identity(**ringing, Timestamp="b")
    assert identity(**ringing) != identity(CallStatus="ringing", SequenceNumber="2")
    assert identity(**ringing) != identity(**ringing, CallSid="CA2")
    stopped = {"StreamEvent": "stream-stopped", "StreamSid": "MZ1"}
    assert identity(**stopped, Timestamp="a") == identity(**stopped, Timestamp="b")
    assert identity(**stopped) != identity(StreamEvent="stream-started", StreamSid="MZ1")
    assert identity(**stopped) != identity(StreamEvent="stream-stopped", StreamSid="MZ2")
    assert identity(CallStatus="completed", Timestamp="a") != identity(CallStatus="completed", Timestamp="b")


@pytest.mark.parametrize("body", [b"", b"CallStatus=busy", b"CallSid=CA1", b"\xff", b"{}"])
def test_what_says_nothing_is_refused_with_what_is_missing(body: bytes) -> None:
    with pytest.raises(ProtocolError, match=r"CallSid|CallStatus|neither JSON nor a form"):
        webhook_fact(request("https://b.example.com/", body=body))


@pytest.mark.parametrize(
    ("said", "state"),
    [
        ([(0, "queued"), (1, "ringing"), (2, "answered"), (3, "completed")], "completed"),
        ([(3, "completed"), (1, "ringing"), (0, "queued")], "completed"),
        ([(None, "ringing"), (None, "answered"), (None, "ringing")], "answered"),
        ([(5, "failed"), (4, "busy")], "busy"),
        ([(None, ""), (1, "")], ""),
        ([], ""),
    ],
)
def test_a_state_moves_forward_only(said: list[tuple[int | None, CallStatus]], state: CallStatus) -> None:
    assert state_of(said) == state
