"""Looking up the servers of trunks: SRV, then addresses (RFC 3263). No NAPTR: the transport is the operator's word."""

import asyncio
import ipaddress
import random
import secrets
from collections.abc import Iterable, Sequence
from typing import Final

from trunkline.bridge.sip import dns_wire as dns
from trunkline.bridge.sip.dns_wire import Record, Srv
from trunkline.bridge.sip.gateway_names import nameservers
from trunkline.bridge.sip.options import Options, Trunk
from trunkline.bridge.sip.sip_text import host_port
from trunkline.bridge.sip.targets import Target, in_order
from trunkline.errors import ProtocolError

TRY_S: Final = 1.0  # for one name server's answer
TRIES: Final = 2  # each
LOCATE_S: Final = 4.0  # for a trunk
MOST_TARGETS: Final = 16
_SERVICES: Final = {"udp": "_sip._udp", "tcp": "_sip._tcp", "tls": "_sips._tcp"}
_PORTS: Final = {"udp": 5060, "tcp": 5060, "tls": 5061}


class _Asking(asyncio.DatagramProtocol):
    """One question, until its answer."""

    def __init__(self, identifier: int) -> None:
        self._identifier = identifier
        self.found: asyncio.Future[list[Record]] = asyncio.get_running_loop().create_future()

    def datagram_received(self, data: bytes, addr: object) -> None:
        try:
            found = dns.answers(data, self._identifier)
        except ProtocolError:
            return  # whoever sent that; the true answer may still come
        if found is not None and not self.found.done():
            self.found.set_result(found)

    def error_received(self, exc: Exception) -> None:
        if not self.found.done():
            self.found.set_exception(exc)


class Locator:
    """Asks name servers ("ADDRESS" or "ADDRESS:PORT"), in turn; without any, the system alone."""

    def __init__(
        self, servers: Sequence[str], *, system: bool, ipv6: bool = True, dice: random.Random | None = None
    ) -> None:
        """system: addresses come from the system's resolver, which knows /etc/hosts; ipv6: we can send there."""
        self._ipv6 = ipv6
        self._servers = [_place(server) for server in servers]
        self._system = system
        self._dice = dice or random.Random(secrets.randbits(64))

    async def locate(self, trunks: Iterable[Trunk]) -> dict[str, list[Target]]:
        """By trunk, the servers in their order; none where nothing could be found."""
        wanted = list(trunks)
        found = await asyncio.gather(*(self._within(trunk) for trunk in wanted))
        return dict(zip((trunk.name for trunk in wanted), found, strict=True))

    async def _within(self, trunk: Trunk) -> list[Target]:
        """A start does not wait for name servers that are away."""
        try:
            async with asyncio.timeout(LOCATE_S):
                found = await self.targets(trunk)
        except TimeoutError:
            return []
        return [target for target in found if self._ipv6 or ":" not in target.address]

    async def targets(self, trunk: Trunk) -> list[Target]:
        """Whom a trunk's requests are sent to."""
        host, port = host_port(trunk.proxy or trunk.host)
        if _is_address(host):
            return [Target(host, port or _PORTS[trunk.transport])]
        if not port and self._servers:
            more = await self._ask(f"{_SERVICES[trunk.transport]}.{host}", dns.SRV)
            servers = in_order((one.value for one in more if isinstance(one.value, Srv)), self._dice)
            if servers:
                places = [await self._addresses(srv.host, more) for srv in servers[:MOST_TARGETS]]
                return _once(Target(at, srv.port) for srv, found in zip(servers, places, strict=False) for at in found)
        return _once(Target(at, port or _PORTS[trunk.transport]) for at in await self._addresses(host, ()))

    async def _addresses(self, host: str, known: Iterable[Record]) -> list[str]:
        """known: records that came along with an answer."""
        told = [str(one.value) for one in known if one.name == host.lower() and one.kind == dns.A]
        if told or _is_address(host):
            return told or [host]
        if self._system or not self._servers:
            return await _of_system(host)
        for kind in (dns.A, dns.AAAA):
            if found := [str(one.value) for one in await self._ask(host, kind) if one.kind == kind]:
                return found
        return []

    async def _ask(self, name: str, kind: int) -> list[Record]:
        for server in self._servers * TRIES:
            try:
                return await _asked(server, name, kind)
            except (OSError, TimeoutError):
                continue
            except ProtocolError:
                return []  # it is no name
        return []


def locator(options: Options, file: str = "/etc/resolv.conf") -> Locator:
    """For the trunks' servers: the configured name servers for everything, or the system's for SRV alone."""
    ipv6 = any("[" in place for place in options.listen)
    if options.nameservers:
        return Locator(options.nameservers, system=False, ipv6=ipv6)
    return Locator(nameservers(options, file), system=True, ipv6=ipv6)


async def _asked(server: tuple[str, int], name: str, kind: int) -> list[Record]:
    identifier = secrets.randbits(16)
    question = dns.query(identifier, name, kind)
    loop = asyncio.get_running_loop()
    transport, asking = await loop.create_datagram_endpoint(lambda: _Asking(identifier), remote_addr=server)
    try:
        transport.sendto(question)
        async with asyncio.timeout(TRY_S):
            return await asking.found
    finally:
        transport.close()


async def _of_system(host: str) -> list[str]:
    try:
        async with asyncio.timeout(2 * TRY_S):
            found = await asyncio.get_running_loop().getaddrinfo(host, None)
    except (OSError, TimeoutError, UnicodeError):
        return []
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def _once(targets: Iterable[Target]) -> list[Target]:
    return list(dict.fromkeys(targets))[:MOST_TARGETS]


def _place(server: str) -> tuple[str, int]:
    host, port = host_port(server)
    return host, port or 53


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
