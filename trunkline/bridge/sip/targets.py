"""The servers behind a trunk's name, which of them is asked, and whether they live. Pure. RFC 3263, RFC 2782.

pjsip alone tries the next server of a name only where a connection fails; over UDP, a dead one costs 32 s and the call.
So servers are chosen here: those that answer go before those that nobody has asked, dead ones last.
"""

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from trunkline.bridge.sip.dns_wire import Srv
from trunkline.bridge.sip.options import Trunk
from trunkline.bridge.sip.sip_text import host_port

Life: TypeAlias = Literal["up", "down", "unchecked"]
DOWN_AFTER: Final = 2  # silences in a row
UP_AFTER: Final = 2  # answers in a row, of one that was down
ANSWER_S: Final = 4.0  # an OPTIONS without an answer for so long is a silence
SEVERAL_S: Final = 30.0  # between two OPTIONS where a trunk has several servers and `keepalive_s` says nothing
_RANK: Final = {"up": 0, "unchecked": 1, "down": 2}


@dataclass(frozen=True, slots=True)
class Target:
    """A server: an address and a port."""

    address: str
    port: int

    def __str__(self) -> str:
        return f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"


class Health:
    """One server's, with hysteresis: a lost packet is no outage, and a single answer no recovery."""

    def __init__(self) -> None:
        self.life: Life = "unchecked"
        self._streak = 0  # of news that contradict `life`

    def heard(self, alive: bool, *, sure: bool = False) -> bool:
        """An answer, or none. sure: no second one is needed. True when `life` is another now."""
        if (self.life == "up") == alive and self.life != "unchecked":
            self._streak = 0
            return False
        self._streak += 1
        needed = 1 if sure or (alive and self.life == "unchecked") else UP_AFTER if alive else DOWN_AFTER
        if self._streak < needed:
            return False
        self.life, self._streak = "up" if alive else "down", 0
        return True

    @property
    def doubtful(self) -> bool:
        """The last news contradicted what is believed: ask again soon."""
        return self._streak > 0


class Targets:
    """A trunk's servers, in their order, and the one that is asked now."""

    def __init__(self, keepalive_s: float) -> None:
        """keepalive_s: as configured; 0: none, unless there are several servers."""
        self._keepalive_s = keepalive_s
        self._health: dict[Target, Health] = {}
        self._asked: dict[Target, float] = {}  # when, of those that have not answered yet
        self._due: dict[Target, float] = {}

    def locate(self, found: Sequence[Target]) -> bool:
        """The servers as they are now, in the order of preference; what is known of them stays. True: others."""
        before = tuple(self._health)
        if tuple(found) == before:
            return False
        self._health = {target: self._health.get(target) or Health() for target in found}
        for book in (self._asked, self._due):
            for target in set(book) - set(self._health):
                del book[target]
        return True

    @property
    def all(self) -> tuple[Target, ...]:
        """In the order of preference."""
        return tuple(self._health)

    @property
    def best(self) -> Target | None:
        """Whom to send to; None where nothing has been found."""
        return min(self._health, key=lambda target: _RANK[self._health[target].life], default=None)

    @property
    def life(self) -> Life:
        """Of the trunk: up while one lives, down when none does."""
        lives = {health.life for health in self._health.values()}
        return "up" if "up" in lives else "down" if lives == {"down"} else "unchecked"

    def lives(self) -> dict[str, Life]:
        """By server."""
        return {str(target): health.life for target, health in self._health.items()}

    def heard(self, target: Target, alive: bool, *, sure: bool = False) -> bool:
        """True when that server's life is another now. One that is none of these is nobody's."""
        self._asked.pop(target, None)
        health = self._health.get(target)
        return health is not None and health.heard(alive, sure=sure)

    @property
    def _every_s(self) -> float:
        return self._keepalive_s or (SEVERAL_S if len(self._health) > 1 else 0.0)

    def silent(self, now: float) -> list[Target]:
        """Those that owe an answer for too long, each once."""
        patience_s = min(ANSWER_S, self._every_s or ANSWER_S)
        late = [target for target, at in self._asked.items() if now - at >= patience_s]
        for target in late:
            del self._asked[target]
        return late

    def due(self, now: float) -> list[Target]:
        """Whom to ask now, in `now` seconds; they are asked."""
        every_s = self._every_s
        if not every_s:
            return []
        ready = [target for target, health in self._health.items() if self._ready(target, health, every_s, now)]
        for target in ready:
            self._due[target] = now
            self._asked.setdefault(target, now)
        return ready

    def _ready(self, target: Target, health: Health, every_s: float, now: float) -> bool:
        last = self._due.get(target)
        wait_s = max(1.0, every_s / 5) if health.doubtful else every_s
        return last is None or (target not in self._asked and now - last >= min(wait_s, every_s))


def in_order(found: Iterable[Srv], dice: random.Random) -> list[Srv]:
    """By priority, and within one by lot with the weights (RFC 2782). A lone "." says that there is no such service."""
    left = sorted((srv for srv in found if srv.host), key=lambda srv: (srv.priority, srv.weight))
    chosen: list[Srv] = []
    while left:
        same = [srv for srv in left if srv.priority == left[0].priority]
        lot = dice.randint(0, sum(srv.weight for srv in same))
        for srv in same:
            lot -= srv.weight
            if lot <= 0:
                break
        chosen.append(srv)
        left.remove(srv)
    return chosen


def suffix(trunk: Trunk) -> str:
    """Of a URI that is sent to by this trunk's transport."""
    return "" if trunk.transport == "udp" else f";transport={trunk.transport}"


def routes(trunk: Trunk, server: Target | None) -> list[str]:
    """What an account's requests go by: the server that was chosen, which only pjsip sees (`hide`), then the proxy.

    TLS goes by the name alone: the certificate is checked against it.
    """
    found = []
    named = host_port(trunk.proxy or trunk.host)[0]
    if server is not None and server.address != named and trunk.transport != "tls":
        found.append(f"sip:{server}{suffix(trunk)};lr;hide")
    if trunk.proxy:
        proxy = trunk.proxy if trunk.proxy.lower().startswith(("sip:", "sips:")) else f"sip:{trunk.proxy}"
        found.append(f"{proxy}{'' if ';transport=' in proxy else suffix(trunk)}{'' if ';lr' in proxy else ';lr'}")
    return found
