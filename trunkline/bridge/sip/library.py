"""pjsua2's endpoint: made, polled and destroyed in one thread. There is one in a process.

No thread of pjsua's own for signalling (`threadCnt = 0`): whoever calls `poll` runs the callbacks, so that signalling
knows no locks. The media clock is a thread of C; it calls Python for a few microseconds per frame (`ports`).
"""

import ctypes
import gc
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Final

import _pjsua2
import pjsua2 as pj
import structlog

from trunkline.bridge.sip.codec_order import codec_rank
from trunkline.bridge.sip.free_ports import settled
from trunkline.bridge.sip.options import Options
from trunkline.errors import ConfigError

TCP_NODELAY: Final = (6, 1, 1)  # Nagle holds back a 200 for 40 ms
_KINDS: Final = {"udp": pj.PJSIP_TRANSPORT_UDP, "tcp": pj.PJSIP_TRANSPORT_TCP, "tls": pj.PJSIP_TRANSPORT_TLS}
_BEST: Final = 200  # pjsua's priority of the codec that goes first; 0 is none at all
TURNED: Final = 200  # calls beyond the limit: those that hear 401 or 503 stay until their ACK, 32 s at most
MOST_ROUNDS: Final = 32  # of one poll: signalling never keeps the loop for itself
log = structlog.get_logger("trunkline.sip.pjsip")


class _Log(pj.LogWriter):  # type: ignore[misc]
    """Lines of pjsip, from any of its threads, kept until `poll` writes them to our log."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: deque[tuple[int, str]] = deque(maxlen=1000)

    def write(self, entry: Any) -> None:
        try:
            self.lines.append((entry.level, entry.msg[:500]))
        except BaseException:  # text that is no UTF-8
            self.lines.append((entry.level, "a line that cannot be read"))


class _Endpoint(pj.Endpoint):  # type: ignore[misc]
    """Whose request it is goes by where it comes from; pjsua would go by names, which anybody can write."""

    def __init__(self, choose: Callable[[str], int | None]) -> None:
        super().__init__()
        self._choose = choose

    def onSelectAccount(self, prm: Any) -> None:  # noqa: N802
        try:
            chosen = self._choose(prm.rdata.srcAddress)
        except BaseException:  # nothing is raised into C; pjsua's own choice is as good as it was
            return
        if chosen is not None:
            prm.accountIndex = chosen


class Library:
    """The endpoint with its transports, codecs and media clock."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._log = _Log()
        self.listening: tuple[str, ...] = ()
        self.transports: dict[str, int] = {}  # kind → pjsua's number of the first one
        self._nodelay = pj.SockOpt(*TCP_NODELAY)  # kept: its copies point into it
        self.ep: Any = None
        self.wake_fd: int | None = None  # readable when pjsip's sockets have something; None: it was not found
        self.gate: Any = ctypes.CDLL(_pjsua2.__file__)

    def start(
        self, nameservers: Sequence[str] = (), choose: Callable[[str], int | None] = lambda _source: None
    ) -> None:
        """choose: pjsua's number of the account for a request from "ADDRESS:PORT", None for pjsua's own choice.

        Raises ConfigError when an address cannot be listened on.
        """
        self.ep = _Endpoint(choose)
        before = _epolls()
        with _silent():  # it prints before it can be told where to
            self.ep.libCreate()
        made = _epolls() - before  # signalling's own; the one for audio comes with libInit
        self.wake_fd = made.pop() if len(made) == 1 else None
        try:
            self.ep.libInit(self._config(nameservers))
            for spec in settled(self._options.listen, self._options.port_tries):
                self._listen(spec)
            self.ep.audDevManager().setNullDev()
            self.ep.libStart()
            self._codecs()
            if status := self.gate.trunkline_gate_start():
                raise ConfigError(f"sip: the gate cannot be started (pjsip {status})")
        except pj.Error as error:
            raise ConfigError(f"sip: {error.info(True)}") from error

    def _config(self, nameservers: Sequence[str]) -> Any:
        config, options = pj.EpConfig(), self._options
        agent, media, logging = config.uaConfig, config.medConfig, config.logConfig
        agent.threadCnt, agent.maxCalls, agent.userAgent = 0, min(1000, options.max_calls + TURNED), options.user_agent
        for server in nameservers:
            agent.nameserver.append(server)
        media.clockRate = media.sndClockRate = options.clock_rate
        media.audioFramePtime = media.ptime = 20
        media.jbMax = options.jitter_ms
        # One packet: no delay on an even line. With pjmedia's own 0 it never waits longer for late packets, whatever
        # it sees, and plays holes: at 40 ms of jitter a quarter of them came too late (bench/results/sip.md).
        media.jbInit = media.jbMinPre = 20
        media.jbMaxPre = options.jitter_ms // 2
        media.noVad, media.ecTailLen, media.sndAutoCloseTime = True, 0, -1
        media.threadCnt = media.confThreads = 1
        media.maxMediaPorts = 2 * agent.maxCalls + 64
        media.quality = 2 if options.clock_rate > 8000 else media.quality  # a cheaper resampler
        logging.level = logging.consoleLevel = options.log_level  # the writer gets what the console would
        logging.writer = self._log
        logging.msgLogging = 0
        logging.decor = 0
        return config

    def _listen(self, spec: str) -> None:
        kind, _, place = spec.partition(":")
        address, _, port = place.rpartition(":")
        first = int(port)
        for tried in range(self._options.port_tries + 1 if first else 1):
            try:
                config = self._transport(kind, address, first + tried)
                number = self.ep.transportCreate(_KINDS[kind] | _ipv6(address), config)
            except pj.Error as error:
                if tried == self._options.port_tries or not first:
                    raise ConfigError(f"sip: cannot listen on {spec}: {error.reason}") from error
                continue
            self.transports.setdefault(kind, number)
            self.listening += (f"{kind} {self.ep.transportGetInfo(number).localAddress}",)
            return

    def _transport(self, kind: str, address: str, port: int) -> Any:
        config = pj.TransportConfig()
        config.boundAddress, config.port = address.strip("[]"), port
        config.publicAddress = self._options.public_address
        if kind != "udp":
            config.sockOptParams.sockOpts.append(self._nodelay)
        if kind == "tls":
            config.tlsConfig.certFile, config.tlsConfig.privKeyFile = self._options.tls_cert, self._options.tls_key
            config.tlsConfig.CaListFile = self._options.tls_ca
            config.tlsConfig.verifyServer = bool(self._options.tls_ca)
        return config

    def _codecs(self) -> None:
        for codec in list(self.ep.codecEnum2()):
            name = codec.codecId
            at = codec_rank(name, self._options.codecs)
            self.ep.codecSetPriority(name, 0 if at is None else _BEST - at)
            if at is not None and not self._options.conceal:
                param = self.ep.codecGetParam(name)
                param.setting.plc = False
                self.ep.codecSetParam(name, param)

    def poll(self) -> bool:
        """Run what is due, callbacks included; True when there may be more."""
        for _ in range(MOST_ROUNDS):
            if self.ep.libHandleEvents(0) <= 0:
                break
        else:
            return True
        self._told()
        return False

    def _told(self) -> None:
        while self._log.lines:
            level, line = self._log.lines.popleft()
            write = log.warning if level <= 1 else log.info if level == 2 else log.debug
            write("pjsip.said", text=line.strip())

    def close(self) -> None:
        """After calls, ports and accounts have been destroyed. An exit without it hangs in a destructor."""
        if self.ep is None:
            return
        gc.collect()
        self._log.thisown = False  # the library deletes it
        self.ep.libDestroy()
        self._told()
        self.ep = None


def _epolls() -> set[int]:
    """Descriptors of this process's epoll sets: pjsip does not tell its own, and one is waited for like a socket."""
    found = set()
    for name in os.listdir("/proc/self/fd"):
        with suppress(OSError):
            if os.readlink(f"/proc/self/fd/{name}") == "anon_inode:[eventpoll]":
                found.add(int(name))
    return found


@contextmanager
def _silent() -> Iterator[None]:
    kept, nothing = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 1)
    try:
        yield
    finally:
        ctypes.CDLL(None).fflush(None)  # what it printed waits in stdio's buffer
        os.dup2(kept, 1)
        os.close(kept)
        os.close(nothing)


def _ipv6(address: str) -> int:
    return int(pj.PJSIP_TRANSPORT_IPV6) if ":" in address else 0
