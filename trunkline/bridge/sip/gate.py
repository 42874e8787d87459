"""The gate's table: networks as the C module of the wheel wants them, and its counters. Pure but for the call."""

import ctypes
import ipaddress
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from trunkline.errors import ConfigError

Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network
COUNTERS: Final = (
    "dropped", "passed", "dropped_invite", "dropped_register", "dropped_options", "dropped_other", "responses",
    "dropped_connection", "malformed", "wrong", "unserved", "kept_alive", "dropped_guest",
)  # fmt: skip
MOST_NETWORKS: Final = 4096


@dataclass(frozen=True, slots=True)
class Table:
    """Who is heard at all, and who without credentials; the others of those are guests, who may only ask to call."""

    heard: tuple[Network, ...]
    trusted: tuple[Network, ...]


def networks(texts: Iterable[str]) -> list[Network]:
    """Raises ConfigError for what is none."""
    try:
        return [ipaddress.ip_network(text, strict=False) for text in texts]
    except ValueError as error:
        raise ConfigError(f"sip: {error}") from error


def packed(nets: Iterable[Network]) -> tuple[bytes, int]:
    """17 bytes each: an IPv6 address (IPv4 mapped) and the prefix length; and how many."""
    parts = []
    for net in dict.fromkeys(nets):
        if isinstance(net, ipaddress.IPv4Network):
            parts.append(bytes(10) + b"\xff\xff" + net.network_address.packed + bytes([96 + net.prefixlen]))
        else:
            parts.append(net.network_address.packed + bytes([net.prefixlen]))
    if len(parts) > MOST_NETWORKS:
        raise ConfigError(f"sip: {len(parts)} networks are allowed, at most {MOST_NETWORKS} can be")
    return b"".join(parts), len(parts)


def within(nets: Iterable[Network], address: str) -> bool:
    """Whether an address lies in one of them; IPv4 in IPv6 clothes too."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped:
        found = found.ipv4_mapped
    return any(found in net for net in nets)


def allow(library: Any, table: Table) -> None:
    """Swap the table, in the polling thread."""
    library.trunkline_gate_allow(*packed(table.heard))
    if hasattr(library, "trunkline_gate_trust"):  # an earlier wheel stays in use where a new one cannot be built
        library.trunkline_gate_trust(*packed(table.trusted))


def counters(library: Any) -> Mapping[str, int]:
    """What the gate has let in and dropped so far."""
    room = (ctypes.c_ulonglong * len(COUNTERS))()
    library.trunkline_gate_counters(room, len(COUNTERS))
    return dict(zip(COUNTERS, room, strict=True))
