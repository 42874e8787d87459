"""Whom we call because a far end asks for it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.bridge.sip.refer import ACCEPTED, BAD, DECLINED, judge
from trunkline.bridge.sip.sip_text import SipText

ALLOWED = ("+9198*", "1001", "sip:*@desk.example", "sip:boss@10.0.0.9:5070")
HOSTS = ("pbx.example", "10.0.0.1")


def refer(*targets: str) -> SipText:
    head = "REFER sip:agent@10.0.0.2 SIP/2.0\r\nCSeq: 2 REFER\r\n"
    return SipText.of(head + "".join(f"Refer-To: {target}\r\n" for target in targets) + "\r\n")


@pytest.mark.parametrize(
    ("target", "code"),
    [
        ("<sip:anna@desk.example>", ACCEPTED),
        ("sip:anna@desk.example", ACCEPTED),
        ('"Anna" <sip:Anna@DESK.example;transport=tcp>', ACCEPTED),
        ("<sip:boss@10.0.0.9:5070>", ACCEPTED),
        ("<sip:boss@10.0.0.9>", DECLINED),
        ("<sip:+919800000001@pbx.example;user=phone>", ACCEPTED),
        ("<sip:+919800000001@PBX.example:5060>", ACCEPTED),
        ("<sip:1001@10.0.0.1>", ACCEPTED),
        ("<sip:1001@evil.example>", DECLINED),
        ("<sip:+35991234567@pbx.example>", DECLINED),
        ("<sip:+919800000001@evil.example>", DECLINED),
        ("<sip:+919800000001@pbx.example;maddr=192.0.2.1>", DECLINED),
        ("<sip:anna@desk.example;method=BYE>", DECLINED),
        ("<sip:anna@desk.example;maddr=192.0.2.1>", DECLINED),
        ("<sip:anna@desk.example?Replaces=a%3Bto-tag%3Db%3Bfrom-tag%3Dc>", DECLINED),
        ("<sip:anna@desk.example?Route=%3Csip%3Aevil.example%3E>", DECLINED),
        ("<tel:+919800000001>", DECLINED),
        ("<http://desk.example/>", DECLINED),
        ("<sip:>", BAD),
        ("<sip:anna@>", BAD),
        ("nonsense", BAD),
        ("<sip:an na@desk.example>", BAD),
        ("", BAD),
    ],
)
def test_only_what_the_operator_named_is_called(target: str, code: int) -> None:
    verdict = judge(refer(target), ALLOWED, HOSTS)
    assert verdict.code == code
    assert bool(verdict.target) == (code == ACCEPTED)


def test_one_target_and_no_more() -> None:
    assert judge(refer(), ALLOWED, HOSTS).code == BAD
    assert judge(refer("<sip:a@desk.example>", "<sip:b@desk.example>"), ALLOWED, HOSTS).code == BAD
    assert judge(refer("<sip:a@desk.example>, <sip:b@desk.example>"), ALLOWED, HOSTS).code == BAD


def test_nobody_is_called_unless_somebody_is_named() -> None:
    assert judge(refer("<sip:1001@pbx.example>"), (), HOSTS).code == DECLINED
    assert judge(refer("<sip:1001@pbx.example>"), ("*",), ()).code == DECLINED
    assert judge(SipText.of("r"), ("*",), HOSTS).code == BAD


@given(st.text(max_size=60), st.text(alphabet="sip:@;?<>=.*a1 ", max_size=40))
def test_whatever_stands_there_is_judged(text: str, target: str) -> None:
    assert judge(SipText.of(f"REFER sip:x SIP/2.0\r\nRefer-To: {target}{text}\r\n"), ("1001",), HOSTS).code in (
        400,
        603,
    )
