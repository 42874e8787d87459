"""What must fit within `[sip]`. Pure: complaints are dotted keys with " = value: must be …"."""

import ipaddress
import re
from collections.abc import Collection, Iterator
from typing import Final

from trunkline.config import Sip, SipTrunk
from trunkline.outcome import EndCause
from trunkline.proxies import network

CODECS: Final = ("PCMU", "PCMA", "G722", "L16", "opus")
ALGORITHMS: Final = ("MD5", "SHA-256")
MOST_TRUNKS: Final = 120  # the library has room for 256 accounts, and each trunk needs two
SHORTEST_TIMER_S: Final = 90  # RFC 4028 section 5
_HEADER = re.compile(r"[A-Za-z0-9_.!%*+`'~-]+")


def sip_complaints(sip: Sip) -> Iterator[tuple[str, str]]:
    """All that does not fit."""
    yield from _listen(sip)
    first, _, last = sip.rtp_ports.partition("-")
    if not (first.isdecimal() and last.isdecimal() and 1024 <= int(first) < int(last) <= 65_535):
        yield "sip.rtp_ports", f" = {sip.rtp_ports!r}: must be FIRST-LAST, from 1024 to 65535"
    yield from networks("sip.allow", sip.allow)
    yield from _named("sip.codecs", sip.codecs, CODECS, least=1)
    yield from _named("sip.algorithms", sip.algorithms, ALGORITHMS, least=1)
    yield from _timer("sip.timer_s", sip.timer_s)
    for server in sip.nameservers:
        if not _is_address(server):
            yield "sip.nameservers", f" has {server!r}: must be an address such as 192.0.2.53, or ADDRESS:PORT"
    if len(sip.trunk) > MOST_TRUNKS:
        yield "sip.trunk", f" has {len(sip.trunk)} trunks: must be at most {MOST_TRUNKS}"
    names = [trunk.name for trunk in sip.trunk]
    for index, trunk in enumerate(sip.trunk):
        at = f"sip.trunk[{index}]"
        if names.count(trunk.name) > 1:
            yield f"{at}.name", f" = {trunk.name!r}: another trunk has that name"
        yield from _trunk(at, trunk)


def _listen(sip: Sip) -> Iterator[tuple[str, str]]:
    for place in sip.listen:
        kind, _, address = place.partition(":")
        host, _, port = address.rpartition(":")
        if kind not in ("udp", "tcp", "tls") or not host or not port.isdecimal() or int(port) > 65_535:
            yield "sip.listen", f" has {place!r}: must be udp:HOST:PORT, tcp:HOST:PORT or tls:HOST:PORT"
        elif kind == "tls" and not (sip.tls_cert and sip.tls_key):
            yield "sip.tls_cert", f": sip.listen has {place!r}: TLS needs both sip.tls_cert and sip.tls_key"


def _trunk(at: str, trunk: SipTrunk) -> Iterator[tuple[str, str]]:
    yield from networks(f"{at}.allow", trunk.allow)
    yield from _named(f"{at}.codecs", trunk.codecs, CODECS)
    yield from _timer(f"{at}.timer_s", trunk.timer_s)
    if trunk.register and not (trunk.user or trunk.auth_user):
        yield f"{at}.user", ": register = true needs a user"
    if trunk.privacy and not (trunk.caller or trunk.user):
        yield f"{at}.caller", ": privacy = true needs a number that the carrier may know, here or as user"
    for header in trunk.headers:
        name, colon, _ = header.partition(":")
        if not colon or not _HEADER.fullmatch(name.strip()) or not header.isprintable():
            yield f"{at}.headers", f' has {header!r}: must be "Name: value", on one line'
    for row in trunk.outcomes:
        code, _, cause = row.partition("=")
        if not (code.strip().isdecimal() and 300 <= int(code) <= 699) or cause.strip() not in list(EndCause):
            yield f"{at}.outcomes", f' has {row!r}: must be "603=CAUSE", CAUSE one of {", ".join(EndCause)}'


def _named(key: str, values: tuple[str, ...], known: tuple[str, ...], *, least: int = 0) -> Iterator[tuple[str, str]]:
    if len(values) < least:
        yield key, f" = []: must name at least one of {', '.join(known)}"
    for value in values:
        if value not in known or values.count(value) > 1:
            yield key, f" has {value!r}: must be of {', '.join(known)}, each once"


def _timer(key: str, seconds: int) -> Iterator[tuple[str, str]]:
    if 0 < seconds < SHORTEST_TIMER_S:
        yield key, f" = {seconds}: must be 0 (none) or at least {SHORTEST_TIMER_S} (RFC 4028)"


def _is_address(text: str) -> bool:
    host, colon, port = text.rpartition(":") if text.count(":") == 1 else (text, "", "")
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return not colon or (port.isdecimal() and 0 < int(port) <= 65_535)


def networks(key: str, texts: Collection[str]) -> Iterator[tuple[str, str]]:
    """Texts that are neither an address nor a network."""
    for text in texts:
        try:
            network(text)
        except ValueError as wrong:
            yield key, f" has {text!r}: must be an address such as 10.0.0.7 or a network such as 10.0.0.0/8 ({wrong})"
