"""Names: the resolvers that pjsip asks, and the addresses behind the trunks' names."""

import asyncio
import ipaddress
import socket
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from trunkline.bridge.sip.gate import networks
from trunkline.bridge.sip.options import Options

LOOKUP_S: Final = 3.0
MOST_SERVERS: Final = 3
_LOOPBACK = networks(["127.0.0.0/8", "::1/128"])


def nameservers(options: Options, file: str = "/etc/resolv.conf") -> tuple[str, ...]:
    """For pjsip's own resolver, which does not stand still as the system's does, and which knows SRV.

    None where nothing but this machine is heard and no trunk is there: names of /etc/hosts stay usable then.
    """
    if options.nameservers:
        plain = tuple(server for server in options.nameservers if _address(server) and server.count(":") != 1)
        return plain[:MOST_SERVERS]  # pjsip knows no port of theirs; the trunks' names are looked up by `locator`
    here = all(any(net == known for known in _LOOPBACK) for net in networks(options.allow))
    if here and all(_address(trunk.host) for trunk in options.trunks):
        return ()
    with suppress(OSError):
        lines = (line.split() for line in Path(file).read_text(encoding="utf-8", errors="replace").splitlines())
        return tuple(words[1] for words in lines if len(words) > 1 and words[0] == "nameserver")[:MOST_SERVERS]
    return ()


def _address(host: str) -> bool:
    try:
        ipaddress.ip_address(host.partition(":")[0])
    except ValueError:
        return False
    return True


async def addresses(names: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """Every address behind each key's names; what cannot be looked up now has none."""
    return {key: [found for name in hosts for found in await _lookup(name)] for key, hosts in names.items()}


async def _lookup(name: str) -> list[str]:
    try:
        async with asyncio.timeout(LOOKUP_S):
            found = await asyncio.get_running_loop().getaddrinfo(name, None, type=socket.SOCK_DGRAM)
    except (OSError, TimeoutError):
        return []
    return [str(entry[4][0]) for entry in found]
