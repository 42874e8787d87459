"""pjsua's accounts: one per trunk, and one without a name for whoever else calls or is called."""

import random
import secrets
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

import pjsua2 as pj
import structlog

from trunkline.bridge.sip import messages as wire
from trunkline.bridge.sip.callbacks import GatewayAccount, GatewayCall, Pinged, Queue, Registered
from trunkline.bridge.sip.options import Options, Srtp, Trunk
from trunkline.bridge.sip.registration import Backoff, rejected
from trunkline.bridge.sip.sip_text import host_port
from trunkline.bridge.sip.targets import Target, Targets, routes, suffix
from trunkline.errors import ConfigError

_SRTP: Final = {
    "off": pj.PJMEDIA_SRTP_DISABLED,
    "optional": pj.PJMEDIA_SRTP_OPTIONAL,
    "required": pj.PJMEDIA_SRTP_MANDATORY,
}
# All eight that there are make an INVITE too large for one packet.
_SUITES: Final = ("AES_CM_128_HMAC_SHA1_80", "AES_256_CM_HMAC_SHA1_80", "AEAD_AES_256_GCM")
_TIMER_OFF: Final = 0  # pjsua_sip_timer_use, which the Python module has no names for
_TIMER_OPTIONAL: Final = 1
SILENCE: Final = (0, 408, 503)  # as pjsip says that nobody answered, or that nobody was reached
log = structlog.get_logger("trunkline.sip.trunk")


def target(to: str, trunk: Trunk | None) -> str:
    """The URI of what shall be dialled. Raises ConfigError for digits without a trunk."""
    if to.lower().startswith(("sip:", "sips:")):
        return to
    if trunk is None:
        raise ConfigError("digits alone are dialled through a trunk")
    if to.lower().startswith("tel:"):
        to = to[4:].partition(";")[0]
    return f"sip:{to}@{trunk.host}{suffix(trunk)}"


class Accounts:
    """All of them, the servers behind each trunk, and each trunk's state."""

    def __init__(
        self, options: Options, queue: Queue, number: Callable[[], int], calls: dict[int, GatewayCall]
    ) -> None:
        self._options = options
        self._made_of = (queue, number, calls)
        self._accounts: dict[str, GatewayAccount] = {}
        self._askers: dict[str, GatewayAccount] = {}  # who sends OPTIONS: without the routes that would divert it
        self._sent_to: dict[str, Target | None] = {}  # the server that each trunk's account is set to
        self.trunks = {trunk.name: trunk for trunk in options.trunks}
        self.targets = {trunk.name: Targets(trunk.keepalive_s) for trunk in options.trunks}
        self.states: dict[str, wire.TrunkState] = {}
        self._news: list[wire.TrunkState | None] = []
        dice = random.Random(secrets.randbits(64))
        self._retries = {trunk.name: Backoff(dice) for trunk in options.trunks if trunk.register}

    def locate(self, found: Mapping[str, Sequence[Target]]) -> None:
        """Trunks' servers as they are now; what was found before stays where nothing is found."""
        for name, targets in found.items():
            if targets and name in self.targets and self.targets[name].locate(targets):
                log.info("trunk.servers", trunk=name, servers=[str(target) for target in targets])
                self._turn_to_best(name)

    @property
    def located(self) -> dict[str, list[str]]:
        """Addresses by trunk."""
        return {name: [target.address for target in targets.all] for name, targets in self.targets.items()}

    def open(self, address: str) -> None:
        """address: ours, "ADDRESS:PORT", for calls without a trunk. Raises ConfigError."""
        try:
            own = f"sip:{self._options.user_agent.lower()}@{address}"
            self._accounts[""] = self._create("", self._config(own, self._options.srtp, self._options.timer_s))
            self._accounts[""].setDefault()
            for trunk in self._options.trunks:
                self._sent_to[trunk.name] = self.targets[trunk.name].best
                self._accounts[trunk.name] = self._create(trunk.name, self._of_trunk(trunk))
                self._askers[trunk.name] = self._create(trunk.name, self._of_trunk(trunk, asker=True))
                state = "registering" if trunk.register else "unchecked"
                self.states[trunk.name] = wire.TrunkState(trunk.name, state)  # type: ignore[arg-type]
        except pj.Error as error:
            raise ConfigError(f"sip: {error.reason} ({error.title})") from error

    def _create(self, name: str, config: Any) -> GatewayAccount:
        queue, number, calls = self._made_of
        account = GatewayAccount(queue, name, number, calls)
        account.create(config)
        return account

    def _config(self, uri: str, srtp: Srtp, timer_s: int) -> Any:
        options, config = self._options, pj.AccountConfig()
        config.idUri = uri
        first, last = options.rtp_ports
        rtp = config.mediaConfig.transportConfig
        rtp.port, rtp.portRange, rtp.publicAddress = first, last - first, options.public_address
        rtp.boundAddress = _bound(options.listen)
        rtp.qosType = pj.PJ_QOS_TYPE_VOICE
        config.mediaConfig.lockCodecEnabled = False  # no second offer when the answer names several
        config.mediaConfig.srtpUse, config.mediaConfig.srtpSecureSignaling = _SRTP[srtp], 0
        for name in _SUITES:
            suite = pj.SrtpCrypto()
            suite.name = name
            config.mediaConfig.srtpOpt.cryptos.append(suite)
        calls = config.callConfig
        calls.timerUse = _TIMER_OPTIONAL if timer_s else _TIMER_OFF
        calls.timerMinSESec, calls.timerSessExpiresSec = 90, max(90, timer_s)
        return config

    def _of_trunk(self, trunk: Trunk, *, asker: bool = False) -> Any:
        host = trunk.host
        config = self._config(f"sip:{trunk.user or 'trunkline'}@{host}", trunk.srtp, trunk.timer_s)
        if trunk.password:
            name = trunk.auth_user or trunk.user
            config.sipConfig.authCreds.append(pj.AuthCredInfo("digest", "*", name, 0, trunk.password))
        if asker:
            return config
        for route in routes(trunk, self._sent_to.get(trunk.name)):
            config.sipConfig.proxies.append(route)
        if trunk.register:
            registration = config.regConfig
            registration.registrarUri = f"sip:{host}{suffix(trunk)}"
            registration.timeoutSec = trunk.register_s
            registration.retryIntervalSec = 0  # tried again by us: registration.py
        return config

    def account(self, trunk: str) -> GatewayAccount:
        """Raises KeyError for a trunk that is not configured."""
        return self._accounts[trunk]

    def number(self, trunk: str) -> int | None:
        """pjsua's own, while it is there."""
        account = self._accounts.get(trunk)
        return None if account is None else int(account.getId())

    def codecs(self, trunk: str) -> tuple[str, ...]:
        """Of our offers to it; (): all, in the gateway's order."""
        return self.trunks[trunk].codecs if trunk in self.trunks else ()

    # -- what is heard of them

    def registered(self, event: Registered, now: float) -> wire.TrunkState | None:
        """The trunk's new state, None when it is the old one."""
        if event.trunk in self._retries:
            self._retried(event, now)
        state = "up" if event.active else "rejected" if rejected(event.code) else "down"
        return self._changed(wire.TrunkState(event.trunk, state, event.code, event.reason))  # type: ignore[arg-type]

    def _retried(self, event: Registered, now: float) -> None:
        retry, server = self._retries[event.trunk], self._sent_to.get(event.trunk)
        if server is not None:
            self._heard(event.trunk, server, event.code not in SILENCE, sure=event.code in SILENCE)
        if event.active:
            retry.done()
        elif event.code // 100 != 2:
            wait_s = retry.failed(event.code, now)
            log.warning("trunk.register_failed", trunk=event.trunk, code=event.code, next_try_in_s=round(wait_s, 1))

    def pinged(self, event: Pinged, now: float) -> wire.TrunkState | None:
        """An answer to an OPTIONS, whatever it is, is a sign of life; that none came is told by `look`."""
        servers = self._targets_of(event.trunk).all
        found = next((target for target in servers if str(target) == event.source), None)
        if found is None and len(servers) == 1 and event.source:
            found = servers[0]  # some answer from another address than the one that was asked
        if found is None or event.code == 503:
            return None
        return self._lives(event.trunk, found, True, now, event.code, event.reason)

    def called(self, trunk: str, code: int, now: float, *, silent: bool) -> None:
        """How an INVITE of ours ended, told by the next `look`: who is silent or says 503 is passed over."""
        server = self._sent_to.get(trunk)
        if server is not None:
            alive = not (code == 503 or (silent and code in SILENCE))
            self._news.append(self._lives(trunk, server, alive, now, code, "", sure=True))

    def _targets_of(self, trunk: str) -> Targets:
        return self.targets.get(trunk) or Targets(0.0)

    def _lives(
        self, trunk: str, target: Target, alive: bool, now: float, code: int, reason: str, *, sure: bool = False
    ) -> wire.TrunkState | None:
        turned = self._heard(trunk, target, alive, sure=sure)
        retry = self._retries.get(trunk)
        if retry is not None:  # what the registrar says goes first; it may have lost its memory when it was away
            if turned and alive and self.states[trunk].state == "up" and target == self._sent_to.get(trunk):
                retry.soon(now)
            return None
        state = self._targets_of(trunk).life
        return self._changed(wire.TrunkState(trunk, state, code, reason)) if state != "unchecked" else None

    def _heard(self, trunk: str, target: Target, alive: bool, *, sure: bool = False) -> bool:
        turned = self._targets_of(trunk).heard(target, alive, sure=sure)
        if turned:
            log.info("trunk.server", trunk=trunk, server=str(target), alive=alive)
            self._turn_to_best(trunk)
        return turned

    def _turn_to_best(self, name: str) -> None:
        """Requests go to the best server from now on; calls that are up stay where they are."""
        best, account = self.targets[name].best, self._accounts.get(name)
        if best == self._sent_to.get(name) or account is None:
            return
        self._sent_to[name] = best
        with suppress(pj.Error):
            account.modify(self._of_trunk(self.trunks[name]))

    def _changed(self, state: wire.TrunkState) -> wire.TrunkState | None:
        before, self.states[state.trunk] = self.states.get(state.trunk), state
        if before is not None and before.state == state.state:
            return None
        write = log.info if state.state == "up" else log.warning
        write("trunk.changed", trunk=state.trunk, state=state.state, code=state.code, reason=state.reason)
        return state

    # -- what time brings

    def look(self, now: float) -> list[wire.TrunkState]:
        """OPTIONS and REGISTERs that are due, silences that have lasted. States that are new."""
        news, self._news = self._news, []
        for name, targets in self.targets.items():
            news += [self._lives(name, target, False, now, 408, "no answer") for target in targets.silent(now)]
            for target in targets.due(now):
                self._ask(name, target)
        for name, retry in self._retries.items():
            if retry.due is not None and now >= retry.due:
                retry.tried()
                self._register(name, now)
        return [state for state in news if state is not None]

    def _register(self, name: str, now: float) -> None:
        try:
            self._accounts[name].setRegistration(True)
        except pj.Error as error:
            self._retries[name].failed(500, now)
            log.warning("trunk.register_failed", trunk=name, reason=error.reason)

    def _ask(self, name: str, target: Target) -> None:
        prm = pj.SendRequestParam()
        prm.method = "OPTIONS"
        prm.txOption.targetUri = f"sip:{target}{suffix(self.trunks[name])}"
        with suppress(pj.Error):
            self._askers[name].sendRequest(prm)

    def close(self) -> None:
        """Unregister, and destroy."""
        for account in (*self._accounts.values(), *self._askers.values()):
            with suppress(pj.Error):
                account.destroy()
        self._accounts.clear()
        self._askers.clear()


def _bound(listen: Sequence[str]) -> str:
    """The address that audio is received on: that of the signalling, unless it is all of them."""
    addresses = {host_port(spec.partition(":")[2])[0] for spec in listen}
    only = addresses.pop() if len(addresses) == 1 else ""
    return "" if only in ("", "0.0.0.0", "::") else only  # noqa: S104
