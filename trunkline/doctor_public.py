"""The doctor's look from outside: does our name lead here, is the certificate good, does a socket come through."""

import asyncio
import socket
import ssl
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp

from trunkline.api_auth import OPEN_TO_ALL, load_secrets
from trunkline.config import Settings
from trunkline.config_load import Configuration
from trunkline.doctor_finding import Finding
from trunkline.errors import ConfigError
from trunkline.proxies import Address, address_of, socket_base
from trunkline.tls import SOON_S, Certificate, Facts, facts_of

STEP_S = 8.0  # one step's patience
CARRIER_S = 2.0  # Smartflo's patience with the dynamic endpoint
CLOCK_OFF_S, CLOCK_WRONG_S = 5.0, 60.0
REFEREES = ("https://www.google.com", "https://api.twilio.com")  # asked for the time with --online
_LOST = (aiohttp.ClientError, OSError, TimeoutError)


@dataclass(frozen=True, slots=True)
class Way:
    """The public address in its parts."""

    base: str
    secure: bool
    host: str
    port: int


def way_of(settings: Settings) -> Way | None:
    """`public_url` in its parts; None without one."""
    base = settings.server.public_url.rstrip("/")
    if not base:
        return None
    parts = urlsplit(base)
    secure = parts.scheme == "https"
    return Way(base, secure, parts.hostname or "", parts.port or (443 if secure else 80))


async def configured(configuration: Configuration) -> Finding:
    """Is there a public address, and is it one that carriers take?"""
    way = way_of(configuration.settings)
    if way is None:
        then = "set [server] public_url (PUBLIC_URL) to the https address at which carriers reach this machine"
        return Finding("way in", "warn", "no public address is configured: real carriers cannot call yet", then)
    if not way.secure:
        return Finding("way in", "warn", f"{way.base} is not https", "carriers want wss://: docs/public-address.md")
    if address_of(way.host) is not None:
        return Finding("way in", "warn", f"{way.base} is an address", "carriers want a name with a certificate for it")
    return Finding("way in", "ok", way.base)


async def own_certificate(configuration: Configuration) -> list[Finding]:
    """The files of [server] tls_cert, if there are any."""
    server = configuration.settings.server
    if not server.tls_cert:
        return []
    try:
        facts = (await asyncio.to_thread(Certificate, server.tls_cert, server.tls_key)).facts
    except ConfigError as bad:
        return [Finding("TLS files", "fail", str(bad), "docs/public-address.md says which files are wanted")]
    way = way_of(configuration.settings)
    return [certificate_finding("TLS files", facts, way.host if way else "", datetime.now(UTC))]


def certificate_finding(part: str, facts: Facts, host: str, now: datetime, why: str = "") -> Finding:
    """What is to be said of a certificate for `host` ("": any). `why`: a client's complaint about it, if it had one."""
    days = facts.left_s(now) / 86_400
    until = f"{facts.not_after:%Y-%m-%d %H:%M} UTC"
    if days < 0:
        return Finding(part, "fail", f"the certificate expired on {until}", "renew it; carriers refuse to connect")
    if facts.not_before > now:
        return Finding(part, "fail", f"the certificate is good only from {facts.not_before:%Y-%m-%d %H:%M} UTC",
                       "is this machine's clock right?")  # fmt: skip
    if host and not facts.covers(host):
        names = ", ".join(facts.names[:4]) or "no name at all"
        return Finding(part, "fail", f"the certificate is for {names}, not for {host}", f"get one for {host}")
    if facts.self_signed:
        return Finding(part, "fail", "the certificate is signed by itself: carriers do not trust it",
                       "get one from an authority such as Let's Encrypt")  # fmt: skip
    if why:
        then = (
            'let the server send the whole chain ("fullchain.pem")' if facts.length == 1 else "which authority is it?"
        )
        return Finding(part, "fail", f"a client does not trust it: {why} (issuer: {facts.issuer})", then)
    if facts.left_s(now) < min(SOON_S, facts.life_s / 4):
        return Finding(part, "warn", f"the certificate expires on {until}, in {days:.1f} days", "does renewal work?")
    return Finding(part, "ok", f"for {host or facts.names[0]}, from {facts.issuer}, until {until} ({days:.0f} days)")


async def from_outside(configuration: Configuration) -> list[Finding]:
    """The way a carrier takes: name, certificate, service, socket. Ends at the first step that leads nowhere."""
    way = way_of(configuration.settings)
    if way is None:
        return []
    found, addresses = await _named(way)
    findings = [found]
    if not addresses:
        return findings
    if way.secure:
        findings += await _certified(way)
        if findings[-1].status == "fail":
            return findings
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=STEP_S)) as session:
        findings += await _answered(way, configuration, session)
        if findings[-1].status != "fail" and findings[-1].part != "unreached":
            findings += [await _socket(way, configuration.settings, session)]
            here = all(address.is_loopback for address in addresses)
            findings += [await _closed(way, configuration.settings, session, here=here)]
    return [Finding("reached", one.status, one.text, one.then) if one.part == "unreached" else one for one in findings]


async def _named(way: Way) -> tuple[Finding, Sequence[Address]]:
    addresses = await resolved(way)
    if not addresses:
        return Finding("name", "fail", f"{way.host} leads nowhere (DNS)", "add an A or AAAA record for it"), ()
    shown = ", ".join(map(str, addresses[:4]))
    if not any(address.is_global for address in addresses):
        then = "carriers cannot reach it, unless the name leads elsewhere for the world than for you"
        return Finding("name", "warn", f"{way.host} is {shown}: not on the internet", then), addresses
    return Finding("name", "ok", f"{way.host} is {shown}"), addresses


async def resolved(way: Way) -> Sequence[Address]:
    """The addresses of the public name; none where DNS has none, or does not answer."""
    try:
        async with asyncio.timeout(STEP_S):
            found = await asyncio.get_running_loop().getaddrinfo(way.host, way.port, type=socket.SOCK_STREAM)
    except (OSError, TimeoutError, UnicodeError):
        return ()
    known = (address_of(str(entry[4][0])) for entry in found)
    return tuple(dict.fromkeys(address for address in known if address is not None))


def ours(addresses: Collection[Address]) -> bool:
    """Whether one of them belongs to this very machine: only such an address can be bound."""
    for address in addresses:
        family = socket.AF_INET6 if address.version == 6 else socket.AF_INET
        with socket.socket(family) as probe:
            try:
                probe.bind((str(address), 0))
            except OSError:
                continue
            return True
    return False


async def _certified(way: Way) -> list[Finding]:
    try:
        facts, why = await asyncio.to_thread(shown_to_a_stranger, way.host, way.port)
    except ssl.SSLError as wrong:
        return [Finding("certificate", "fail", f"port {way.port} speaks no TLS that we know ({wrong.reason})",
                        "is it plain HTTP? docs/public-address.md")]  # fmt: skip
    except OSError:
        return []  # the next step says what an unreachable port means
    return [certificate_finding("certificate", facts, way.host, datetime.now(UTC), why)]


def shown_to_a_stranger(host: str, port: int, address: str = "") -> tuple[Facts, str]:
    """The certificate that `host:port` shows, and why a client would not trust it (""). Blocks; raises OSError.

    address: where to connect, in place of the one that DNS has for `host`.
    """
    why, chain = "", 1
    strict = ssl.create_default_context()
    try:
        der = _peer(host, (address or host, port), strict)
        chain = 2  # it was trusted, so whatever was needed was there
    except ssl.SSLCertVerificationError as wrong:
        why = wrong.verify_message
        loose = ssl.create_default_context()
        loose.check_hostname, loose.verify_mode = False, ssl.CERT_NONE
        der = _peer(host, (address or host, port), loose)
    facts = facts_of(ssl.DER_cert_to_PEM_cert(der).encode())
    return Facts(facts.names, facts.issuer, facts.not_before, facts.not_after, chain, facts.self_signed), why


def _peer(host: str, at: tuple[str, int], context: ssl.SSLContext) -> bytes:
    with (
        socket.create_connection(at, STEP_S) as raw,
        context.wrap_socket(raw, server_hostname=host) as connection,
    ):
        return connection.getpeercert(True) or b""


async def _answered(way: Way, configuration: Configuration, session: aiohttp.ClientSession) -> list[Finding]:
    began = time.perf_counter()
    try:
        async with session.get(f"{way.base}/health", allow_redirects=False) as response:
            status, server = response.status, response.headers.get("Server", "")
            body = await response.json(content_type=None) if status == 200 else None
    except _LOST as lost:
        return [await _unreached(way, configuration.settings, lost)]
    except ValueError:
        body = None
    took_s = time.perf_counter() - began
    if status in (502, 503, 504) and not isinstance(body, dict):
        text = f"a proxy answers (HTTP {status}), but reaches no service behind it"
        return [Finding("reached", "fail", text, "start it: trunkline serve; is the proxy's upstream our host:port?")]
    if not isinstance(body, dict) or "uptime_s" not in body:
        text = f"something else answers at {way.base}/health (HTTP {status})"
        return [Finding("reached", "fail", text, "does the name lead to this machine, and the proxy to Trunkline?")]
    if took_s > CARRIER_S:
        text = f"Trunkline {body.get('version')} answers only after {took_s:.1f} s"
        return [Finding("reached", "warn", text, f"Smartflo's dynamic endpoint must answer within {CARRIER_S:g} s")]
    if "aiohttp" not in server and not configuration.settings.server.trusted_proxies:
        text = f"through a proxy ({server or 'unnamed'}), which is not trusted: callers seem to come from it"
        return [Finding("reached", "warn", text, 'name its address: [server] trusted_proxies = ["127.0.0.1", "::1"]')]
    return [Finding("reached", "ok", f"Trunkline {body.get('version')} answers in {1000 * took_s:.0f} ms")]


async def _unreached(way: Way, settings: Settings, lost: BaseException) -> Finding:
    """Nobody answers out there: is nobody at home either, or does the network not lead back inside?"""
    why = "no answer" if isinstance(lost, TimeoutError) else (str(lost) or type(lost).__name__)
    if await at_home(settings):
        text = f"the service runs, but from here its public address cannot be reached ({why})"
        then = (
            "many routers do not lead a connection back inside (hairpin NAT), so it may work all the same: try from "
            f"another network, such as a phone's: curl {way.base}/health; if that fails too, open port {way.port}"
        )
        return Finding("unreached", "warn", text, then)
    return Finding("unreached", "fail", f"nobody answers at {way.base} ({why}), nor on this machine",
                   "start the service (trunkline serve), then ask the doctor again")  # fmt: skip


async def at_home(settings: Settings) -> bool:
    """Whether a Trunkline answers at our own host and port."""
    server = settings.server
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(server.host, server.host)  # noqa: S104
    scheme = "https" if server.tls_cert else "http"
    timeout = aiohttp.ClientTimeout(total=2.0)
    async with aiohttp.ClientSession(timeout=timeout, connector=aiohttp.TCPConnector(ssl=False)) as session:
        try:
            async with session.get(f"{scheme}://{host}:{server.port}/health") as response:
                return "uptime_s" in await response.json(content_type=None)
        except (*_LOST, ValueError, TypeError):
            return False


async def _socket(way: Way, settings: Settings, session: aiohttp.ClientSession) -> Finding:
    """Open a media socket as a carrier would, and leave again before it says what call it is."""
    kept = load_secrets(Path(settings.server.data_dir), media_token=settings.auth.media_token,
                        webhook_secret=settings.auth.webhook_secret)  # fmt: skip
    url = f"{socket_base(way.base)}/media/smartflo/{kept.media_token}"
    try:
        async with session.ws_connect(url, timeout=aiohttp.ClientWSTimeout(ws_close=2.0)):
            return Finding("socket", "ok", f"a media socket opens at {socket_base(way.base)}/media/smartflo/…")
    except aiohttp.WSServerHandshakeError as refused:
        return await _refused(way, settings, session, refused.status)
    except _LOST as lost:
        return Finding("socket", "fail", f"no websocket comes through: {lost}", "does the proxy pass websockets on?")


async def _refused(way: Way, settings: Settings, session: aiohttp.ClientSession, status: int) -> Finding:
    if status == 503:
        return Finding("socket", "warn", "the service takes no call just now (HTTP 503)", "is it full, or draining?")
    if status == 403 and settings.auth.allow_carriers_from:
        return Finding("socket", "ok", "reached, and refused: this machine is not in [auth] allow_carriers_from")
    if status == 403:
        return Finding("socket", "fail", "the service that answers does not know our token (HTTP 403)",
                       "is it another one, or does it use another data_dir? Run the doctor as it is run")  # fmt: skip
    return Finding("socket", "fail", f"no websocket comes through (HTTP {status})",
                   "let the proxy pass on `Upgrade` and the whole path: docs/public-address.md")  # fmt: skip


async def _closed(way: Way, settings: Settings, session: aiohttp.ClientSession, *, here: bool) -> Finding:
    try:
        async with session.get(f"{way.base}/calls?limit=1", allow_redirects=False) as response:
            status = response.status
    except _LOST as lost:
        return Finding("strangers", "warn", f"cannot tell whether the API asks for a key ({lost})", "ask again")
    return strangers_finding(status, here=here, meant=OPEN_TO_ALL in settings.auth.allow_unauthenticated)


def strangers_finding(status: int, *, here: bool, meant: bool) -> Finding:
    """What the API answered to a request without a key: `here`, from this machine to itself; `meant`, by configuration.

    A proxy that does not say whom it stands for makes everybody a program of this machine, and so lets everybody in.
    """
    if status != 200:
        return Finding("strangers", "ok", f"without a key the API is closed from outside (HTTP {status})")
    if meant:
        return Finding("strangers", "warn", "the API is open to the world, as configured", "trunkline keys create")
    if here:
        return Finding("strangers", "ok", "the API is open to programs on this machine; from outside it was not tried")
    return Finding("strangers", "fail", "anybody on the internet may use the API",
                   "make a key (trunkline keys create --kind admin); let the proxy send X-Forwarded-For")  # fmt: skip


async def clock(configuration: Configuration, *, online: bool) -> Finding | None:
    """Our clock beside that of others; None when nobody else's could be seen."""
    way = way_of(configuration.settings)
    asked = list(REFEREES) if online else []
    if way is not None and (addresses := await resolved(way)) and not ours(addresses):
        asked.insert(0, way.base)  # not when it is this machine: that clock is the one in question
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=STEP_S / 2)) as session:
        for url in asked:
            if (off_s := await _off_s(session, url)) is not None:
                return clock_finding(off_s, urlsplit(url).hostname or url)
    return None


async def _off_s(session: aiohttp.ClientSession, url: str) -> float | None:
    """How far ahead of the answer's Date header we are, s; None without one. The header has whole seconds."""
    try:
        before = time.time()
        async with session.head(url, allow_redirects=False) as response:
            theirs = parsedate_to_datetime(response.headers["Date"]).timestamp() + 0.5
        return (before + time.time()) / 2 - theirs
    except (*_LOST, KeyError, ValueError):
        return None


def clock_finding(off_s: float, who: str) -> Finding:
    """What a difference of `off_s` to the clock of `who` means."""
    text = f"{abs(off_s):.0f} s {'ahead of' if off_s > 0 else 'behind'} that of {who}"
    then = "set it by NTP (timedatectl set-ntp true): signatures, tickets and TLS need a right clock"
    if abs(off_s) > CLOCK_WRONG_S:
        return Finding("clock", "fail", text, then)
    if abs(off_s) > CLOCK_OFF_S:
        return Finding("clock", "warn", text, then)
    return Finding("clock", "ok", f"agrees with {who}: {datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC")
