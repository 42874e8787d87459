"""TLS by the service itself: one context for the listeners, whose certificate is read again when its files change.

A connection gets the certificate that is in force when its handshake begins and keeps it; nothing that is live is
touched. Each reading makes a whole new context and puts it in the old one's place at once, so that a renewal that
changes the kind of key leaves nothing behind; files that do not fit together (yet) leave the old one in force.
"""

import asyncio
import os
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeAlias

import structlog
from cryptography import x509
from cryptography.x509.oid import ExtensionOID, NameOID

from trunkline.errors import ConfigError

LOOK_EVERY_S = 5.0  # how soon renewed files are noticed
SOON_S = 14 * 86_400.0  # a certificate this near its end is complained about
log = structlog.get_logger("trunkline.tls")

_Signature: TypeAlias = tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True)
class Facts:
    """What a person wants to know of a certificate; times are aware."""

    names: tuple[str, ...]  # DNS names and addresses it is for
    issuer: str
    not_before: datetime
    not_after: datetime
    length: int  # certificates in the chain; 1: no intermediate
    self_signed: bool

    def covers(self, host: str) -> bool:
        """Whether a client that asked for `host` accepts the name (RFC 6125: a wildcard stands for one label)."""
        host = host.lower().strip("[]").rstrip(".")
        return any(_matches(name.lower(), host) for name in self.names)

    @property
    def life_s(self) -> float:
        """Seconds from its first to its last."""
        return (self.not_after - self.not_before).total_seconds()

    def left_s(self, now: datetime) -> float:
        """Seconds until it expires; below 0 once it has."""
        return (self.not_after - now).total_seconds()


def _matches(name: str, host: str) -> bool:
    if name.startswith("*."):
        return host.partition(".")[2] == name[2:] and bool(host.partition(".")[0])
    return name == host


def facts_of(pem: bytes) -> Facts:
    """Of the first certificate in a PEM text. Raises ValueError when there is none."""
    chain = x509.load_pem_x509_certificates(pem)
    leaf = chain[0]
    return Facts(
        names=_names(leaf),
        issuer=_common_name(leaf.issuer),
        not_before=leaf.not_valid_before_utc,
        not_after=leaf.not_valid_after_utc,
        length=len(chain),
        self_signed=leaf.issuer == leaf.subject,
    )


def _names(leaf: x509.Certificate) -> tuple[str, ...]:
    try:
        found = leaf.extensions.get_extension_for_oid(ExtensionOID.SUBJECT_ALTERNATIVE_NAME).value
    except x509.ExtensionNotFound:
        return ()
    if not isinstance(found, x509.SubjectAlternativeName):
        return ()
    addresses = found.get_values_for_type(x509.IPAddress)
    return (*found.get_values_for_type(x509.DNSName), *(str(one) for one in addresses))


def _common_name(name: x509.Name) -> str:
    found = name.get_attributes_for_oid(NameOID.COMMON_NAME) or name.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
    return str(found[0].value) if found else name.rfc4514_string()


class Certificate:
    """The certificate in force. Raises ConfigError when the files cannot be used at the start."""

    def __init__(self, cert: str | Path, key: str | Path) -> None:
        self._cert, self._key = Path(cert), Path(key)
        self._seen = self._signature()
        self._now, self.facts = self._read()
        self.refused = 0  # readings that left the old one in force
        self.context = _server_context()
        self.context.load_cert_chain(
            self._cert, self._key, password=_no_passphrase
        )  # for whom the callback is not asked
        self.context.sni_callback = self._choose

    def _choose(self, connection: ssl.SSLObject, _name: str | None, _listening: ssl.SSLContext) -> None:
        """At each handshake, with a name or without: the context in force takes over."""
        connection.context = self._now

    def renew(self, *, anyway: bool = False) -> bool:
        """Read the files if they changed (`anyway`: in any case). True when a new certificate is in force.

        Blocks for as long as the disk does; may be called from a thread. Never raises for bad files: it says so once
        per change, counts it and leaves the old certificate in force.
        """
        try:
            signature = self._signature()
            if signature == self._seen and not anyway:
                return False
            self._seen = signature
            self._now, self.facts = self._read()
        except ConfigError as bad:
            self.refused += 1
            kept = f"{self.facts.not_after:%Y-%m-%d %H:%M}"
            log.error("tls.not_renewed", reason=str(bad), in_force="the old certificate", good_until=kept)
            return False
        told = {"names": list(self.facts.names), "good_until": f"{self.facts.not_after:%Y-%m-%d %H:%M}"}
        log.info("tls.renewed", issuer=self.facts.issuer, **told)
        self.complain()
        return True

    def complain(self, now: datetime | None = None) -> None:
        """One line when the certificate is over, or soon will be."""
        left_s = self.facts.left_s(now or datetime.now(UTC))
        if left_s < min(SOON_S, self.facts.life_s / 4):
            word = "tls.expires" if left_s > 0 else "tls.expired"
            log.warning(word, at=f"{self.facts.not_after:%Y-%m-%d %H:%M}", then="renew it, or carriers hang up")

    def _signature(self) -> _Signature:
        """Changes whenever the files do, links to them included. A file that is missing is itself a state."""
        return tuple(_stat(path) for path in (self._cert, self._key))

    def _read(self) -> tuple[ssl.SSLContext, Facts]:
        context = _server_context()
        try:
            context.load_cert_chain(self._cert, self._key, password=_no_passphrase)
            facts = facts_of(self._cert.read_bytes())
        except (OSError, ValueError) as wrong:  # ssl.SSLError is an OSError
            raise ConfigError(self._complaint(wrong)) from wrong
        if facts.length == 1 and not facts.self_signed:
            log.warning("tls.no_chain", file=str(self._cert), then='give the whole chain ("fullchain.pem")')
        return context, facts

    def _complaint(self, wrong: Exception) -> str:
        for name, path in (("server.tls_cert", self._cert), ("server.tls_key", self._key)):
            try:
                path.read_bytes()
            except OSError as unreadable:
                return f"{name} = {str(path)!r}: cannot be read ({unreadable.strerror})"
        reason = getattr(wrong, "reason", None) or str(wrong)
        if reason == "KEY_VALUES_MISMATCH":
            return f"server.tls_key = {str(self._key)!r}: is not the key of {str(self._cert)!r}"
        if isinstance(wrong, _PassphraseError):
            return f"server.tls_key = {str(self._key)!r}: has a passphrase; give a key without one"
        return (
            f"server.tls_cert = {str(self._cert)!r}, server.tls_key = {str(self._key)!r}: no usable PEM pair ({reason})"
        )


class _PassphraseError(ValueError):
    """The key is encrypted: nobody is there to be asked."""


def _no_passphrase() -> str:
    raise _PassphraseError("the key has a passphrase")


def _stat(path: Path) -> tuple[int, ...]:
    try:
        found = os.stat(path)
    except OSError:
        return ()
    return found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size


def _server_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    context.set_alpn_protocols(["http/1.1"])  # a websocket needs it
    return context


@asynccontextmanager
async def kept_fresh(certificate: Certificate, every_s: float = LOOK_EVERY_S) -> AsyncIterator[Callable[[], None]]:
    """Notice renewed files for as long as the block lasts. Gives a function that looks at once (SIGHUP).

    No TaskGroup: an application may be stopped by another task than started it.
    """
    asked = asyncio.Event()
    task = asyncio.get_running_loop().create_task(_look(certificate, asked, every_s), name="service.tls")
    try:
        yield asked.set
    finally:
        task.cancel()
        await asyncio.wait({task})


async def _look(certificate: Certificate, asked: asyncio.Event, every_s: float) -> None:
    while True:
        try:
            async with asyncio.timeout(every_s):
                await asked.wait()
        except TimeoutError:
            pass
        anyway = asked.is_set()
        asked.clear()
        await asyncio.to_thread(certificate.renew, anyway=anyway)
