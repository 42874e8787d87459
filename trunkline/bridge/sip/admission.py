"""Whose INVITE is this, and is it heard? By address (a trunk's, or an allowed network) or by credentials. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from trunkline.bridge.sip.bans import WRONG, Bans
from trunkline.bridge.sip.digest import Digest
from trunkline.bridge.sip.gate import Network, Table, networks, within
from trunkline.bridge.sip.options import Options, Trunk
from trunkline.bridge.sip.sip_text import SipText, host_port


@dataclass(frozen=True, slots=True)
class Pass:
    """It may be offered; `trunk` is whose it is, `user` who proved it."""

    trunk: str = ""
    user: str = ""


@dataclass(frozen=True, slots=True)
class Turned:
    """A final answer, with its headers."""

    code: int
    reason: str = ""
    headers: tuple[tuple[str, str], ...] = ()


EXTENSIONS: Final = frozenset({"100rel", "timer", "replaces", "norefersub", "trickle-ice"})  # pjsip's
Answer: TypeAlias = Pass | Turned


class Admission:
    """The rules of `[sip]`. `resolved`: addresses of the trunks' names, which may change (`resolve`)."""

    def __init__(self, options: Options) -> None:
        self._trunks = options.trunks
        self._fixed: dict[str, list[Network]] = {trunk.name: networks(trunk.allow) for trunk in options.trunks}
        self._allowed = networks(options.allow)
        users = {user.name: user.password for user in options.users}
        self._digest = Digest(options.realm, users, options.algorithms) if users else None
        self.bans = Bans()
        self._resolved: Mapping[str, Sequence[Network]] = {}

    def resolve(self, resolved: Mapping[str, Iterable[str]]) -> None:
        """Addresses by trunk, new ones in the place of the old."""
        self._resolved = {name: networks(addresses) for name, addresses in resolved.items()}

    def table(self) -> Table:
        """For the gate. Trunks and allowed networks are never banned: they give no credentials."""
        of_trunks = [net for trunk in self._trunks for net in self._networks(trunk)]
        trusted = (*self._allowed, *of_trunks)
        return Table(trusted if self._digest is None else tuple(self.bans.rest()), trusted)

    def _networks(self, trunk: Trunk) -> list[Network]:
        return [*self._fixed[trunk.name], *self._resolved.get(trunk.name, ())]

    def trunk_of(self, address: str) -> str | None:
        """The first trunk that this address belongs to."""
        return next((trunk.name for trunk in self._trunks if within(self._networks(trunk), address)), None)

    def decide(self, text: SipText, source: str, now: float) -> Answer:
        """source: "ADDRESS:PORT" of the packet; now: seconds."""
        address, _ = host_port(source)
        trunk = self.trunk_of(address)
        if trunk is not None:
            return Pass(trunk)
        if within(self._allowed, address):
            return Pass()
        if self._digest is None:
            return Turned(403)  # the gate lets nobody through to here; this holds while its table changes
        return self._proved(self._digest, text, address, now)

    def _proved(self, digest: Digest, text: SipText, address: str, now: float) -> Answer:
        tries = [value for name, value in text.headers if name == "authorization"]
        verdict, user = "none", ""
        for value in tries[:4]:
            verdict, user = digest.check(value, text.method, address, now)
            if verdict == "ok":
                self.bans.forgive(address)
                return Pass("", user)
        self.bans.blame(address, now, WRONG if verdict == "wrong" else 1)
        if verdict == "wrong":
            return Turned(403, "Wrong credentials")
        asked = digest.challenge(address, now, stale=verdict == "stale")
        return Turned(401, "", tuple(("WWW-Authenticate", value) for value in asked))


def understood(text: SipText) -> Turned | None:
    """What pjsip takes although RFC 3261 says otherwise: extensions that nobody here knows (8.2.2.3), no SDP wanted."""
    required = [tag.strip().lower() for value in text.all("require") for tag in value.split(",")]
    unknown = [tag for tag in required if tag not in EXTENSIONS]
    if unknown:
        return Turned(420, "", (("Unsupported", ", ".join(unknown)[:500]),))
    accepted = [value.partition(";")[0].strip().lower() for value in text.all("accept")]
    if accepted and not any(kind in ("application/sdp", "application/*", "*/*") for kind in accepted):
        return Turned(406)
    return None


def names_of(trunks: Iterable[Trunk]) -> dict[str, list[str]]:
    """Host names and addresses by trunk whose addresses its requests come from: its host's and its proxy's."""
    return {
        trunk.name: [host for host in (host_port(trunk.host)[0], host_port(trunk.proxy)[0]) if host] for trunk in trunks
    }
