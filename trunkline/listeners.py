"""Listening sockets: opened once, by whoever lives longest, and handed down to workers."""

import errno
import socket
from typing import Any

from trunkline.errors import ConfigError

BACKLOG = 1024


def listen(host: str, port: int) -> list[socket.socket]:
    """Sockets bound to `host:port`, one per address of the name; port 0 takes one free port on the first address.

    Raises ConfigError that says who is in the way.
    """
    try:
        found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        addresses = list(dict.fromkeys((family, address) for family, _, _, _, address in found))
        return [_bound(family, address) for family, address in (addresses[:1] if port == 0 else addresses)]
    except socket.gaierror as wrong:
        raise ConfigError(
            f"cannot listen on {host}:{port}: the host {host!r} is not known here ({wrong.strerror or wrong}). "
            "Choose an address of this machine: --host 127.0.0.1 (or HOST=127.0.0.1), 0.0.0.0 for all of them."
        ) from wrong
    except OSError as wrong:
        if wrong.errno == errno.EADDRNOTAVAIL:
            raise ConfigError(
                f"cannot listen on {host}:{port}: {host!r} is no address of this machine. "
                "Choose one that is: --host 127.0.0.1 (or HOST=127.0.0.1), 0.0.0.0 for all of them."
            ) from wrong
        raise ConfigError(
            f"cannot listen on {host}:{port}: {wrong.strerror or wrong}. "
            "Is another Trunkline running? Stop it, or choose another port: --port 8007 (or PORT=8007)."
        ) from wrong


def listen_at(place: str) -> list[socket.socket]:
    """The same for `HOST:PORT`; none for "". Raises ConfigError."""
    if not place:
        return []
    host, _, port = place.rpartition(":")
    return listen(host.strip("[]"), int(port))


def _bound(family: int, address: tuple[Any, ...]) -> socket.socket:
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        made.bind(address)
        made.listen(BACKLOG)
        made.setblocking(False)
    except OSError:
        made.close()
        raise
    return made


def url_of(one: socket.socket, scheme: str = "http") -> str:
    """`http://host:port` under which this machine reaches a listener."""
    host, port = one.getsockname()[:2]
    near = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)  # noqa: S104
    return f"{scheme}://{near}:{port}"
