"""Whom forwarding headers make us believe: nobody but trusted proxies, and these only as far as their chain reaches."""

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.proxies import Visitor, address_of, among, masked, network, networks, public_base, socket_base, visitor

TRUSTED = networks(["127.0.0.1", "10.0.0.0/8", "fd00::/8"])
PROXY = "10.0.0.1"


def seen(peer: str | None = PROXY, **headers: str | list[str]) -> Visitor:
    """What a request over http to bot.internal tells; `xff`, `proto`, `host`, `forwarded` are headers."""
    names = {"xff": "x-forwarded-for", "proto": "x-forwarded-proto", "host": "x-forwarded-host"}
    given = {names.get(name, name): [value] if isinstance(value, str) else value for name, value in headers.items()}
    return visitor(peer, "http", "bot.internal:8006", given, TRUSTED)


def whose(found: Visitor) -> str:
    return str(found.address)


def test_a_trusted_proxy_tells_client_scheme_and_host() -> None:
    found = seen(xff="203.0.113.7", proto="https", host="voice.example.com")
    assert (whose(found), found.scheme, found.host, found.relayed) == (
        "203.0.113.7",
        "https",
        "voice.example.com",
        True,
    )
    assert found.base == "https://voice.example.com"


@pytest.mark.parametrize("peer", ["203.0.113.9", "11.0.0.1", "2001:db8::1", None, "", "/run/socket"])
def test_nobody_else_is_believed_a_word(peer: str | None) -> None:
    found = seen(peer, xff="127.0.0.1", proto="https", host="evil.example", forwarded="for=127.0.0.1;host=evil.example")
    assert (found.scheme, found.host, found.relayed, found.odd) == ("http", "bot.internal:8006", False, "")
    assert found.address == (address_of(peer) if peer else None)


def test_what_the_client_wrote_in_front_of_the_chain_is_not_believed() -> None:
    found = seen(xff="127.0.0.1, 10.9.9.9, 198.51.100.4, 203.0.113.7, 10.0.0.2")
    assert whose(found) == "203.0.113.7"
    repeated = seen(xff=["127.0.0.1", "203.0.113.7"], proto=["http", "https"], host=["evil.example", "voice.example"])
    assert (whose(repeated), repeated.base) == ("203.0.113.7", "https://voice.example")


def test_a_chain_of_trusted_proxies_alone_ends_at_its_first() -> None:
    assert whose(seen(xff="10.0.0.9, 10.0.0.8")) == "10.0.0.9"


def test_one_scheme_and_host_hold_for_the_whole_chain() -> None:
    found = seen(xff="203.0.113.7, 10.0.0.2", proto="https", host="voice.example.com")
    assert found.base == "https://voice.example.com"


def test_a_chain_that_cannot_be_read_leads_to_nobody_and_says_so() -> None:
    for bad in ("nonsense", "1.2.3", "203.0.113.7, <script>", "999.1.1.1", "a" * 10_000):
        found = seen(xff=bad)
        assert (found.address, found.odd) == (None, "for"), bad
    assert seen(xff="unknown").odd == ""
    assert seen(xff="unknown").address is None


@pytest.mark.parametrize(
    "host", ["a b", "evil.example/path", "x@evil.example", "a\tb", "[::1", "v:port", "-x", "", "é"]
)
def test_a_host_that_is_none_is_not_taken(host: str) -> None:
    assert seen(xff="203.0.113.7", host=host).host == "bot.internal:8006"


def test_a_scheme_that_is_none_is_not_taken() -> None:
    assert seen(xff="203.0.113.7", proto="javascript").scheme == "http"
    assert seen(xff="203.0.113.7", proto="WSS").scheme == "https"


def test_the_standard_header_says_the_same() -> None:
    found = seen(forwarded='for="[2001:db8:cafe::17]:4711";proto=https;host="voice.example.com:8443";by=_hidden')
    assert (whose(found), found.base) == ("2001:db8:cafe::17", "https://voice.example.com:8443")
    chain = seen(
        forwarded="for=127.0.0.1;host=evil.example, For=203.0.113.7;Proto=HTTPS;Host=voice.example, for=10.0.0.2"
    )
    assert (whose(chain), chain.base) == ("203.0.113.7", "https://voice.example")


def test_a_proxy_that_writes_the_usual_headers_is_not_fooled_by_the_standard_one_that_it_hands_through() -> None:
    found = seen(xff="203.0.113.7", forwarded="for=127.0.0.1;proto=https;host=evil.example")
    assert (whose(found), found.base) == ("203.0.113.7", "http://bot.internal:8006")


@pytest.mark.parametrize("text", ["for=1.2.3.4;for=5.6.7.8", "for", 'for="1.2.3.4', "for=1.2.3.4 proto=https", "=x"])
def test_a_standard_header_that_is_wrong_is_not_believed_in_part(text: str) -> None:
    found = seen(forwarded=text)
    assert (whose(found), found.relayed, found.odd) == (PROXY, False, "forwarded")


@given(st.text(max_size=200), st.text(max_size=200), st.text(max_size=100), st.text(max_size=100))
def test_no_header_breaks_anything(xff: str, forwarded: str, proto: str, host: str) -> None:
    for found in (seen(xff=xff, proto=proto, host=host, forwarded=forwarded), seen(forwarded=forwarded)):
        assert found.scheme in ("http", "https")
        assert found.base.isascii()
        assert " " not in found.base


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("203.0.113.7:1234", "203.0.113.7"),
        ("[2001:db8::1]:443", "2001:db8::1"),
        ("2001:db8::1", "2001:db8::1"),
        ("fe80::1%eth0", "fe80::1"),
        ("::ffff:10.0.0.1", "10.0.0.1"),
        (" 10.0.0.1 ", "10.0.0.1"),
    ],
)
def test_addresses_in_all_their_spellings(text: str, address: str) -> None:
    assert address_of(text) == ip_address(address)


def test_a_dual_stack_listener_knows_its_proxies_too() -> None:
    assert whose(seen("::ffff:10.0.0.1", xff="203.0.113.7")) == "203.0.113.7"


def test_networks_are_addresses_too_and_wrong_ones_say_what_was_meant() -> None:
    assert among(ip_address("10.1.2.3"), TRUSTED)
    assert not among(ip_address("11.1.2.3"), TRUSTED)
    assert not among(None, TRUSTED)
    with pytest.raises(ValueError, match=r"did you mean 10\.0\.0\.0/8"):
        network("10.1.0.0/8")
    with pytest.raises(ValueError, match="proxy"):
        network("proxy.internal")


def test_logs_see_the_network_not_the_person() -> None:
    assert masked(ip_address("203.0.113.77")) == "203.0.113.x"
    assert masked(ip_address("2001:db8:cafe:1::17")) == "2001:db8:cafe::/48"
    assert masked(None) == "unknown"


def test_the_public_address_is_the_configured_one_else_that_of_the_request() -> None:
    found = seen(xff="203.0.113.7", proto="https", host="voice.example.com")
    assert public_base("https://configured.example/bot/", found) == "https://configured.example/bot"
    assert public_base("", found) == "https://voice.example.com"
    assert public_base("", seen("203.0.113.9", proto="https", host="evil.example")) == "http://bot.internal:8006"
    assert socket_base("https://voice.example.com") == "wss://voice.example.com"
    assert socket_base("http://127.0.0.1:8006") == "ws://127.0.0.1:8006"
