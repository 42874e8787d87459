"""Who guesses passwords, or asks to be challenged again and again, is not heard for a while. Pure, bounded.

The gate knows only whom it lets in: a ban is a hole in "everybody".
"""

import ipaddress
from collections import OrderedDict
from typing import Final

from trunkline.bridge.sip.gate import Network, networks

WRONG: Final = 5  # points for wrong credentials; 1 for a challenge that was asked for
LIMIT: Final = 50  # points within WINDOW_S
WINDOW_S: Final = 60.0
BAN_S: Final = 600.0
MOST_BANS: Final = 48  # a hole costs the gate 32 networks (IPv4) or 64, and it has room for 4096
MOST_BLAMED: Final = 10_000
_PREFIX: Final = 64  # of IPv6: one customer has that many addresses


class Bans:
    """Addresses by their points."""

    def __init__(self) -> None:
        self._points: OrderedDict[str, tuple[int, float]] = OrderedDict()  # and since when
        self._banned: OrderedDict[Network, float] = OrderedDict()  # until
        self.fresh = False  # the table is another since `rest` was asked

    def blame(self, address: str, now: float, points: int) -> None:
        """Something that a stranger may do a few times, not often."""
        before, since = self._points.pop(address, (0, now))
        if now - since > WINDOW_S:
            before, since = 0, now
        self._points[address] = (before + points, since)
        if before + points >= LIMIT:
            del self._points[address]
            self._ban(address, now)
        while len(self._points) > MOST_BLAMED:
            self._points.popitem(last=False)

    def _ban(self, address: str, now: float) -> None:
        found = ipaddress.ip_address(address)
        net = networks([f"{address}/{32 if found.version == 4 else _PREFIX}"])[0]
        self._banned[net] = now + BAN_S
        self._banned.move_to_end(net)
        while len(self._banned) > MOST_BANS:
            self._banned.popitem(last=False)
        self.fresh = True

    def forgive(self, address: str) -> None:
        """It has proved who it is."""
        self._points.pop(address, None)

    def expire(self, now: float) -> None:
        """Bans end."""
        for net, until in list(self._banned.items()):
            if now >= until:
                del self._banned[net]
                self.fresh = True

    def rest(self) -> list[Network]:
        """Everybody else."""
        self.fresh = False
        rest = [*networks(["0.0.0.0/0"]), *_without(*networks(["::/0", "::ffff:0:0/96"]))]  # the gate's IPv4 is mapped
        for banned in self._banned:
            rest = [part for net in rest for part in _without(net, banned)]
        return rest


def _without(net: Network, banned: Network) -> list[Network]:
    if net.version != banned.version or not net.overlaps(banned):
        return [net]
    return list(net.address_exclude(banned)) if net != banned else []  # type: ignore[arg-type]
