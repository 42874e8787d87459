"""pjsua's accounts: one per trunk, and one without a name for whoever else calls or is called."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Final

import pjsua2 as pj
import structlog

from trunkline.bridge.sip import messages as wire
from trunkline.bridge.sip.callbacks import GatewayAccount, GatewayCall, Pinged, Queue, Registered
from trunkline.bridge.sip.options import Options, Srtp, Trunk
from trunkline.bridge.sip.sip_text import host_port
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
log = structlog.get_logger("trunkline.sip.trunk")


def _suffix(trunk: Trunk) -> str:
    return "" if trunk.transport == "udp" else f";transport={trunk.transport}"


def target(to: str, trunk: Trunk | None) -> str:
    """The URI of what shall be dialled. Raises ConfigError for digits without a trunk."""
    if to.lower().startswith(("sip:", "sips:")):
        return to
    if trunk is None:
        raise ConfigError("digits alone are dialled through a trunk")
    return f"sip:{to}@{trunk.host}{_suffix(trunk)}"


class Accounts:
    """All of them, and the state of each trunk."""

    def __init__(
        self, options: Options, queue: Queue, number: Callable[[], int], calls: dict[int, GatewayCall]
    ) -> None:
        self._options = options
        self._made_of = (queue, number, calls)
        self._accounts: dict[str, GatewayAccount] = {}
        self._pinged: dict[str, float] = {}
        self.trunks = {trunk.name: trunk for trunk in options.trunks}
        self.states: dict[str, wire.TrunkState] = {}

    def open(self, address: str) -> None:
        """address: ours, "ADDRESS:PORT", for calls without a trunk. Raises ConfigError."""
        try:
            own = f"sip:{self._options.user_agent.lower()}@{address}"
            self._create("", self._config(own, self._options.srtp, self._options.timer_s))
            self._accounts[""].setDefault()
            for trunk in self._options.trunks:
                self._create(trunk.name, self._of_trunk(trunk))
                state = "registering" if trunk.register else "unchecked"
                self.states[trunk.name] = wire.TrunkState(trunk.name, state)  # type: ignore[arg-type]
        except pj.Error as error:
            raise ConfigError(f"sip: {error.reason} ({error.title})") from error

    def _create(self, name: str, config: Any) -> None:
        queue, number, calls = self._made_of
        self._accounts[name] = account = GatewayAccount(queue, name, number, calls)
        account.create(config)

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

    def _of_trunk(self, trunk: Trunk) -> Any:
        host = trunk.host
        config = self._config(f"sip:{trunk.user or 'trunkline'}@{host}", trunk.srtp, trunk.timer_s)
        if trunk.password:
            name = trunk.auth_user or trunk.user
            config.sipConfig.authCreds.append(pj.AuthCredInfo("digest", "*", name, 0, trunk.password))
        if trunk.proxy:
            proxy = trunk.proxy if ":" in trunk.proxy and trunk.proxy.startswith("sip") else f"sip:{trunk.proxy}"
            config.sipConfig.proxies.append(f"{proxy}{'' if ';' in proxy else _suffix(trunk)};lr")
        if trunk.register:
            registration = config.regConfig
            registration.registrarUri = f"sip:{host}{_suffix(trunk)}"
            registration.timeoutSec, registration.retryIntervalSec = trunk.register_s, 20
            registration.firstRetryIntervalSec, registration.randomRetryIntervalSec = 2, 5
        return config

    def account(self, trunk: str) -> GatewayAccount:
        """Raises KeyError for a trunk that is not configured."""
        return self._accounts[trunk]

    def registered(self, event: Registered) -> wire.TrunkState | None:
        """The trunk's new state, None when it is the old one."""
        state = "up" if event.active else "rejected" if 400 <= event.code < 500 and event.code != 408 else "down"
        return self._changed(wire.TrunkState(event.trunk, state, event.code, event.reason))  # type: ignore[arg-type]

    def pinged(self, event: Pinged) -> wire.TrunkState | None:
        """By OPTIONS: any answer is a sign of life, but no answer at all (408) and 503."""
        trunk = self.trunks.get(event.trunk)
        if trunk is None or trunk.register:  # what the registrar says goes first
            return None
        state = "down" if event.code in (0, 408, 503) else "up"
        return self._changed(wire.TrunkState(event.trunk, state, event.code, event.reason))  # type: ignore[arg-type]

    def _changed(self, state: wire.TrunkState) -> wire.TrunkState | None:
        before, self.states[state.trunk] = self.states.get(state.trunk), state
        if before is not None and before.state == state.state:
            return None
        write = log.info if state.state == "up" else log.warning
        write("trunk.changed", trunk=state.trunk, state=state.state, code=state.code, reason=state.reason)
        return state

    def look(self, now: float) -> None:
        """OPTIONS to the trunks that are due."""
        for trunk in self.trunks.values():
            if trunk.keepalive_s and now - self._pinged.get(trunk.name, -1e9) >= trunk.keepalive_s:
                self._pinged[trunk.name] = now
                prm = pj.SendRequestParam()
                prm.method = "OPTIONS"
                prm.txOption.targetUri = f"sip:{trunk.host}{_suffix(trunk)}"
                with suppress(pj.Error):
                    self._accounts[trunk.name].sendRequest(prm)

    def close(self) -> None:
        """Unregister, and destroy."""
        for account in self._accounts.values():
            with suppress(pj.Error):
                account.destroy()
        self._accounts.clear()


def _bound(listen: Sequence[str]) -> str:
    """The address that audio is received on: that of the signalling, unless it is all of them."""
    addresses = {host_port(spec.partition(":")[2])[0] for spec in listen}
    only = addresses.pop() if len(addresses) == 1 else ""
    return "" if only in ("", "0.0.0.0", "::") else only  # noqa: S104
