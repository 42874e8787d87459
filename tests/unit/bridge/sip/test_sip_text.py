"""A message's text: what is picked from it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.bridge.sip.messages import MOST_HEADERS
from trunkline.bridge.sip.sip_text import Address, SipText, caller, codecs, host_port, last_word, parameter, told

INVITE = "\r\n".join(
    [
        "INVITE sip:agent@192.0.2.1:5060;transport=tcp SIP/2.0",
        "v: SIP/2.0/TCP 192.0.2.9:5070;branch=z9hG4bK1, SIP/2.0/UDP 10.0.0.1",
        "Record-Route: <sip:a;lr>, <sip:b,c;lr>",
        "Record-Route: <sip:d;lr>",
        'f: "Rao, \\"Dr\\"" <sip:+919800000001@carrier.example;user=phone>;tag=abc',
        "t: <sip:agent@192.0.2.1>",
        "i: call-1@carrier",
        "CSeq: 7 INVITE",
        "X-Long: one",
        "\ttwo",
        "x-long: three",
        "Diversion: <sip:5@x>",
        "P-Asserted-Identity: <tel:+918069000000>",
        "",
        "v=0",
        "m=audio 4000 RTP/AVP 9 0 96 101",
        "a=rtpmap:96 opus/48000/2",
        "a=rtpmap:101 telephone-event/8000",
        "m=video 4002 RTP/AVP 97",
        "a=rtpmap:97 H264/90000",
    ]
)


def test_an_invite():
    text = SipText.of(INVITE)
    assert (text.method, text.request_uri) == ("INVITE", "sip:agent@192.0.2.1:5060;transport=tcp")
    assert (text.transport, text.cseq, text.first("call-id")) == ("tcp", 7, "call-1@carrier")
    assert text.all("record-route") == ("<sip:a;lr>", "<sip:b,c;lr>", "<sip:d;lr>")
    assert told(text, ("Diversion",)) == {"X-Long": "one two", "Diversion": "<sip:5@x>"}
    assert codecs(text.body) == ("G722/8000", "PCMU/8000", "opus/48000")


def test_who_calls():
    text = SipText.of(INVITE)
    assert caller(text, trusted=False) == ("+919800000001", 'Rao, "Dr"')
    assert caller(text, trusted=True) == ("+918069000000", 'Rao, "Dr"')
    hidden = SipText.of(INVITE.replace("X-Long: one", "Privacy: id\r\nX-Long: one"))
    assert caller(hidden, trusted=True) == ("", "")


@pytest.mark.parametrize(
    ("value", "user"),
    [
        ("<sip:+91980@x>", "+91980"),
        ("sip:100@x;tag=1", "100"),
        ("<tel:+4412;phone-context=x>", "+4412"),
        ("<sip:a%20b@x>", "a b"),
        ("<sip:anonymous@anonymous.invalid>", ""),
        ("Anonymous <sip:x@anonymous.invalid>", ""),
        ("<sip:192.0.2.1>", ""),
        ("<http://x>", ""),
        ("", ""),
    ],
)
def test_users(value, user):
    assert Address.of(value).user == user


def test_tags_belong_to_the_header_not_to_the_uri():
    assert Address.of("<sip:a@b;tag=no>;tag=yes").tag == "yes"
    assert Address.of("sip:a@b;tag=yes") == Address("", "sip:a@b", "yes")


@pytest.mark.parametrize(
    ("uri", "found"),
    [
        ("sip:u@h:5070;x=1", ("h", 5070)),
        ("sip:[2001:db8::1]:5070", ("2001:db8::1", 5070)),
        ("h", ("h", 0)),
        ("h:99999", ("h", 0)),
        ("2001:db8::1", ("2001:db8::1", 0)),
        ("sips:h", ("h", 0)),
        ("", ("", 0)),
    ],
)
def test_hosts(uri, found):
    assert host_port(uri) == found


def test_parameters():
    assert parameter("sip:a;lr;transport=TCP?x=1;y=2", "lr") == ""
    assert parameter("sip:a;lr;transport=TCP", "transport") == "tcp"
    assert parameter("sip:a", "lr") is None


def test_what_is_told_is_bounded():
    many = "INVITE x SIP/2.0\r\n" + "".join(f"X-{at}: {'y' * 5000}\r\n" for at in range(200))
    found = told(SipText.of(many))
    assert len(found) == MOST_HEADERS
    assert max(map(len, found.values())) == 2048


@given(st.text())
def test_no_text_raises(text):
    read = SipText.of(text)
    codecs(read.body)
    told(read)
    caller(read, trusted=True)
    _ = (
        read.method,
        read.request_uri,
        read.transport,
        read.cseq,
        read.all("via"),
        host_port(text),
        parameter(text, "a"),
    )


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ('BYE sip:a SIP/2.0\r\nReason: Q.850 ;cause=16 ;text="Gone"\r\n', ('Q.850 ;cause=16 ;text="Gone"', 0)),
        ("BYE sip:a SIP/2.0\r\nRetry-After: 5\r\n", ("BYE", 0)),
        (f"BYE sip:a SIP/2.0\r\nReason: {'x' * 300}\r\n", ("x" * 200, 0)),
        ("SIP/2.0 503 No\r\nRetry-After: 18 (busy);duration=60\r\nReason: x\r\n", ("No", 18)),
        ("SIP/2.0 503 No\r\nRetry-After: soon\r\n", ("No", 0)),
        ("SIP/2.0 503 No\r\nRetry-After: 99999999999\r\n", ("No", 0)),
        ("", ("No", 0)),
    ],
)
def test_the_far_ends_last_word(message, said):
    assert last_word(SipText.of(message), "No") == said
