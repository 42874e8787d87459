"""Who asks, and how they addressed us, where proxies stand in between. Pure: headers and addresses in, facts out.

A forwarding header is a claim. It is believed only when the connection comes from a trusted proxy, and only as far back
as the chain of trusted proxies reaches: `X-Forwarded-For` is read from its end (the nearest proxy wrote that), and the
first address that is no trusted proxy is the client.
Sources: RFC 7239 (Forwarded); X-Forwarded-* has no standard, this is what Caddy, nginx, HAProxy and AWS write.
"""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import TypeAlias

Address: TypeAlias = IPv4Address | IPv6Address
Network: TypeAlias = IPv4Network | IPv6Network

MAX_HOPS = 32  # entries of a chain that are looked at; more is an attack, not a network

_HOST = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9._-]{0,252})|\[[0-9A-Fa-f:.]{2,45}\])(?::\d{1,5})?")
_PORT = re.compile(r"(?P<host>\d+\.\d+\.\d+\.\d+|\[[^\]]*\]):\d{1,5}")
_PAIR = re.compile(r'\s*([!#$%&\'*+.^_`|~0-9A-Za-z-]+)=("(?:[^"\\]|\\.)*"|[^\s";,]*)\s*')
_SCHEMES = {"http": "http", "https": "https", "ws": "http", "wss": "https"}


@dataclass(frozen=True, slots=True)
class Visitor:
    """One request's origin. `address` None: a unix socket, or nothing that could be read."""

    address: Address | None
    scheme: str  # http or https, as the client used it
    host: str  # as the client addressed us, with port where not the usual one
    relayed: bool = False  # through a trusted proxy
    odd: str = ""  # a forwarding header of a trusted proxy that could not be read

    @property
    def base(self) -> str:
        """`https://host`, as the client found us."""
        return f"{self.scheme}://{self.host}"

    @property
    def shown(self) -> str:
        """The address as a log may show it: its network alone."""
        return masked(self.address)


@dataclass(frozen=True, slots=True)
class _Hop:
    """What one proxy says about who came to it."""

    client: str = ""
    scheme: str = ""
    host: str = ""


def network(text: str) -> Network:
    """An address, or a network in CIDR notation. Raises ValueError; host bits that are set are refused with the fix."""
    try:
        return ip_network(text)
    except ValueError:
        loose = ip_network(text, strict=False)  # raises for what is no network at all
        raise ValueError(f"did you mean {loose}?") from None


def networks(texts: Collection[str]) -> tuple[Network, ...]:
    """All of them. Raises ValueError."""
    return tuple(network(text) for text in texts)


def among(address: Address | None, known: Collection[Network]) -> bool:
    """Whether the address lies in one of the networks."""
    return address is not None and any(address in one for one in known)


def address_of(text: str) -> Address | None:
    """An address, with or without port, brackets and zone; an IPv4 address mapped into IPv6 is IPv4. None: not one."""
    text = text.strip()
    if with_port := _PORT.fullmatch(text):
        text = with_port["host"]
    try:
        found = ip_address(text.strip("[]").partition("%")[0])
    except ValueError:
        return None
    mapped = found.ipv4_mapped if isinstance(found, IPv6Address) else None
    return mapped or found


def masked(address: Address | None) -> str:
    """For logs: IPv4 without its last number, IPv6 without everything behind the site's /48."""
    if address is None:
        return "unknown"
    if isinstance(address, IPv4Address):
        return f"{str(address).rpartition('.')[0]}.x"
    return f"{ip_network((address, 48), strict=False).network_address}/48"


def visitor(
    peer: str | None, scheme: str, host: str, headers: Mapping[str, Sequence[str]], trusted: Collection[Network]
) -> Visitor:
    """Who asks. `peer`: the connection's address; `headers`: by lower-case name, every value in order of appearance."""
    address = address_of(peer) if peer else None
    direct = Visitor(address, scheme, host)
    if not among(address, trusted):
        return direct
    hops, odd = _hops(headers)
    return _walk(direct, hops, trusted, odd)


def _walk(direct: Visitor, hops: Sequence[_Hop], trusted: Collection[Network], odd: str) -> Visitor:
    """From the nearest proxy outwards, for as long as each hop was told by a trusted one."""
    address, scheme, host, relayed = direct.address, direct.scheme, direct.host, False
    for hop in reversed(hops[-MAX_HOPS:]):
        relayed = True
        scheme = _SCHEMES.get(hop.scheme.lower(), scheme)
        if hop.host and _HOST.fullmatch(hop.host):
            host = hop.host
        elif hop.host:
            odd = odd or "host"
        if not hop.client:
            continue
        if (client := address_of(hop.client)) is None:  # "unknown", "_hidden", or nonsense: the chain ends here
            odd = odd or ("" if hop.client.startswith(("_", "unknown")) else "for")
            address = None
            break
        address = client
        if not among(client, trusted):
            break
    return Visitor(address, scheme, host, relayed, odd)


def _hops(headers: Mapping[str, Sequence[str]]) -> tuple[list[_Hop], str]:
    """The chain, outermost first. X-Forwarded-* beats Forwarded, which most proxies hand through unread."""
    clients = _list(headers.get("x-forwarded-for", ()))
    schemes = _list(headers.get("x-forwarded-proto", ()))
    hosts = _list(headers.get("x-forwarded-host", ()))
    if clients or schemes or hosts:
        return _zipped(clients, schemes, hosts), ""
    return _forwarded(", ".join(headers.get("forwarded", ())))


def _list(values: Sequence[str]) -> list[str]:
    return [part.strip() for value in values for part in value.split(",") if part.strip()]


def _zipped(clients: list[str], schemes: list[str], hosts: list[str]) -> list[_Hop]:
    """Lists of one length belong together entry by entry; else the last entry, the nearest proxy's, holds for all."""
    count = max(len(clients), 1)
    return [
        _Hop(client, scheme, host)
        for client, scheme, host in zip(
            clients or [""], _aligned(schemes, count), _aligned(hosts, count), strict=True
        )
    ]  # fmt: skip


def _aligned(values: list[str], count: int) -> list[str]:
    return values if len(values) == count else ["" if not values else values[-1]] * count


def _forwarded(text: str) -> tuple[list[_Hop], str]:
    """RFC 7239 section 4: elements divided by commas, pairs by semicolons, values perhaps in quotes."""
    hops: list[_Hop] = []
    for element in _elements(text):
        if element is None:
            return [], "forwarded"  # what cannot be read is not believed in part
        hops.append(_Hop(element.get("for", ""), element.get("proto", ""), element.get("host", "")))
    return hops, ""


def _elements(text: str) -> Iterator[dict[str, str] | None]:
    """Each element's pairs; None at the first thing that is no such header."""
    at, pairs = 0, dict[str, str]()
    while at < len(text):
        match = _PAIR.match(text, at)
        if match is None or match[1].lower() in pairs:
            yield None
            return
        pairs[match[1].lower()] = _unquoted(match[2])
        at = match.end()
        if at < len(text) and text[at] not in ";,":
            yield None
            return
        if at >= len(text) or text[at] == ",":
            yield pairs
            pairs = {}
        at += 1


def _unquoted(value: str) -> str:
    return re.sub(r"\\(.)", r"\1", value[1:-1]) if value.startswith('"') else value


def public_base(configured: str, asked: Visitor | None = None) -> str:
    """Where others find us, without a slash at the end: as configured, else as this request found us.

    A Host header that no trusted proxy vouches for comes from whoever asks, and is told back to nobody else.
    """
    if configured:
        return configured.rstrip("/")
    return asked.base if asked is not None else ""


def socket_base(base: str) -> str:
    """The same for websockets: https://… → wss://…"""
    return "ws" + base.removeprefix("http")
