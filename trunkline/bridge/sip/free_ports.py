"""Which ports to listen on when those that were asked for are taken: the next ones, the same for all that shared one.

A softphone is given one address, and a message that is too large for UDP goes by TCP to the same port: where UDP and
TCP were asked for at one port, they stay at one.
"""

import socket
from collections.abc import Callable, Sequence
from typing import TypeAlias

Free: TypeAlias = Callable[[str, str, int], bool]


def settled(listen: Sequence[str], tries: int, free: Free | None = None) -> tuple[str, ...]:
    """listen: "udp:ADDRESS:PORT" and the like; tries: how many ports further. Where all are taken: as asked for, so
    that whoever listens then says what is wrong. Port 0 is any free one, and left alone."""
    may = free or is_free
    taken: set[tuple[str, int]] = set()  # given away here: two that were asked for must not meet
    moved: dict[str, int] = {}
    kinds: dict[str, list[str]] = {}
    for spec in listen:
        kinds.setdefault(_place(spec), []).append(spec.partition(":")[0])
    for further in (0, tries):  # first whoever gets what was asked for: nobody who has to move may take that away
        for place in [one for one in kinds if one not in moved]:
            address, _, port = place.rpartition(":")
            if (found := _next(address, int(port), kinds[place], further, may, taken)) is not None:
                moved[place] = found
                taken.add((address, found))
    return tuple(_moved(spec, moved.get(_place(spec))) for spec in listen)


def _moved(spec: str, port: int | None) -> str:
    return spec if port is None else f"{spec.rpartition(':')[0]}:{port}"


def _next(
    address: str, first: int, kinds: Sequence[str], tries: int, free: Free, taken: set[tuple[str, int]]
) -> int | None:
    for port in range(first, min(first + tries, 65_535) + 1) if first else ():
        if (address, port) not in taken and all(free(kind, address, port) for kind in kinds):
            return port
    return None


def _place(spec: str) -> str:
    return spec.partition(":")[2]


def is_free(kind: str, address: str, port: int) -> bool:
    """Whether we could listen there now."""
    return refusal(kind, address, port) is None


def refusal(kind: str, address: str, port: int) -> OSError | None:
    """What the system says when we listen there; None when we may."""
    host = address.strip("[]")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM if kind == "udp" else socket.SOCK_STREAM) as probe:
        if kind != "udp":
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as pjsip does
        try:
            probe.bind((host, port))
        except OSError as wrong:
            return wrong
    return None


def said(listen: Sequence[str], listening: Sequence[str]) -> str:
    """For people: where it listens ("udp 127.0.0.1:5061" and the like), and what was taken."""
    places: dict[str, list[str]] = {}
    for one in listening:
        kind, _, place = one.partition(" ")
        places.setdefault(place, []).append(kind)
    told = ", ".join(f"sip:agent@{_near(place)} ({', '.join(kinds)})" for place, kinds in places.items())
    asked = {_place(spec).rpartition(":")[2] for spec in listen} - {"0"}
    missed = sorted(asked - {place.rpartition(":")[2] for place in places})
    return f"{told}; {', '.join(missed)} is taken" if missed else told


def _near(place: str) -> str:
    host, _, port = place.rpartition(":")
    return f"{'127.0.0.1' if host in ('0.0.0.0', '[::]') else host}:{port}"  # noqa: S104
