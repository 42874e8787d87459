"""Guessers are not heard for a while."""

import ipaddress

from trunkline.bridge.sip.admission import Admission, Turned
from trunkline.bridge.sip.bans import BAN_S, LIMIT, MOST_BANS, WINDOW_S, WRONG, Bans
from trunkline.bridge.sip.gate import MOST_NETWORKS, packed, within
from trunkline.bridge.sip.options import Options, User
from trunkline.bridge.sip.sip_text import SipText

A, B = "192.0.2.7", "192.0.2.8"


def test_so_many_wrong_ones_and_nobody_else():
    bans = Bans()
    for _ in range(LIMIT // WRONG - 1):
        bans.blame(A, 0, WRONG)
    assert not bans.fresh
    bans.blame(A, 1, WRONG)
    assert bans.fresh
    rest = bans.rest()
    assert not within(rest, A)
    assert within(rest, B)
    assert within(rest, "2001:db8::1")
    assert not bans.fresh


def test_slow_ones_and_those_who_prove_themselves_are_not_banned():
    bans = Bans()
    for at in range(LIMIT * 2):
        bans.blame(A, at * WINDOW_S / (LIMIT / 2), 1)
    for _ in range(LIMIT * 2):
        bans.blame(B, 0, 1)
        bans.forgive(B)
    assert not bans.fresh


def test_a_ban_ends():
    bans = Bans()
    bans.blame(A, 0, LIMIT)
    bans.expire(BAN_S - 1)
    assert not within(bans.rest(), A)
    bans.expire(BAN_S)
    assert bans.fresh
    assert within(bans.rest(), A)


def test_many_bans_fit_into_the_gate():
    bans = Bans()
    for at in range(MOST_BANS * 3):
        bans.blame(f"10.{at}.{255 - at}.{at * 7 % 256}", 0, LIMIT)
    data, count = packed(bans.rest())
    assert count < MOST_NETWORKS
    assert len(data) == 17 * count


def test_ipv6_is_banned_by_customer():
    bans = Bans()
    bans.blame("2001:db8:1:2::3", 0, LIMIT)
    rest = bans.rest()
    assert not within(rest, "2001:db8:1:2::4")
    assert within(rest, "2001:db8:1:3::4")
    assert within(rest, A)
    for at in range(MOST_BANS * 3):
        bans.blame(f"{at * 333:x}:{at * 777 % 65536:x}:{at:x}:{at:x}::1", 0, LIMIT)
    assert packed(bans.rest())[1] < MOST_NETWORKS


def test_an_ipv4_address_is_not_let_in_as_an_ipv6_one():
    """To the gate 192.0.2.7 is ::ffff:192.0.2.7."""
    bans = Bans()
    bans.blame(A, 0, LIMIT)
    mapped = int(ipaddress.ip_address(f"::ffff:{A}"))
    data, count = packed(bans.rest())
    for at in range(count):
        address, bits = int.from_bytes(data[17 * at : 17 * at + 16]), data[17 * at + 16]
        assert address >> (128 - bits) != mapped >> (128 - bits)


def test_admission_blames_those_who_only_ask():
    rules = Admission(Options(allow=(), users=(User(name="u", password="p"),)))
    invite = SipText.of("INVITE sip:us SIP/2.0\r\n\r\n")
    for _ in range(LIMIT):
        answer = rules.decide(invite, f"{A}:5060", 0)
        assert isinstance(answer, Turned)
    assert rules.bans.fresh
    assert not within(rules.table().heard, A)
