"""Who may do what (DESIGN 4.15): keys, tickets, carriers' secrets, and what is open on the machine itself."""

import base64
import hashlib
import hmac
import os
import secrets
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import msgspec
from aiohttp import web

from trunkline.api_base import Identity, Scope, refuse
from trunkline.clock import Clock
from trunkline.config_load import is_loopback
from trunkline.keys import SCOPES, Keyring, allows

DEFAULT_TENANT = "default"
INVITED_FOR_S = 120.0  # from the answer document to the socket it leads to
KEYS_SEEN_FOR_S = 2.0  # how long "there are no keys yet" may be believed
OPEN_TO_ALL = "*"  # in allow_unauthenticated: the whole API, as the operator wants it
FORWARDED = ("Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Real-IP")


@dataclass(frozen=True, slots=True)
class Secrets:
    """What carriers and tickets are checked against; every worker of a node has the same."""

    media_token: str
    webhook_secret: str
    webhook_secret_configured: bool
    ticket_key: bytes


def load_secrets(data_dir: Path, *, media_token: str, webhook_secret: str) -> Secrets:
    """The configured secrets; what is not configured is made once and kept in `data_dir` (mode 600).

    Raises OSError when the directory cannot be written.
    """
    kept = _kept(data_dir / "carrier-secret")
    return Secrets(
        media_token=media_token or kept,
        webhook_secret=webhook_secret or kept,
        webhook_secret_configured=bool(webhook_secret),
        ticket_key=hashlib.sha256(b"tickets:" + kept.encode()).digest(),
    )


def _kept(path: Path) -> str:
    """The secret in `path`, made if there is none: whole or not at all, whoever else is starting just now."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f".{path.name}-{secrets.token_hex(4)}")
        with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_urlsafe(24))
        with suppress(FileExistsError):
            os.link(draft, path)
        draft.unlink()
    return path.read_text().strip()


class _Claims(msgspec.Struct, frozen=True, array_like=True):
    tenant: str
    scopes: tuple[str, ...]
    expires: float


class Tickets:
    """Short-lived stand-ins for a key, signed and not stored, so that any worker can check them."""

    def __init__(self, key: bytes, ttl_s: float, now: Callable[[], float]) -> None:
        self._key = key
        self.ttl_s = ttl_s
        self._now = now  # s since the epoch

    def issue(self, tenant: str, scopes: Collection[str]) -> str:
        """A ticket for these scopes of the tenant."""
        claims = msgspec.json.encode(_Claims(tenant, tuple(sorted(scopes)), self._now() + self.ttl_s))
        return f"{_b64(claims)}.{_b64(self._sign(claims))}"

    def read(self, ticket: str) -> Identity | None:
        """Whom the ticket stands for; None when it is not ours or too old."""
        try:
            body, _, signature = ticket.partition(".")
            claims = _unb64(body)
            if not hmac.compare_digest(self._sign(claims), _unb64(signature)):
                return None
            read = msgspec.json.decode(claims, type=_Claims)
        except (ValueError, msgspec.DecodeError):
            return None
        if read.expires < self._now():
            return None
        return Identity(read.tenant, frozenset(read.scopes), "ticket", "ticket")

    def _sign(self, claims: bytes) -> bytes:
        return hmac.digest(self._key, claims, "sha256")


def _b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _unb64(text: str) -> bytes:
    data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    if _b64(data) != text:  # the last character has bits that mean nothing: one ticket, one text
        raise ValueError("not as we write it")
    return data


class Gate:
    """Lets requests in: by key, by ticket, or openly on the machine itself while there are no keys."""

    def __init__(
        self,
        keyring: Keyring,
        tickets: Tickets,
        carriers: Secrets,
        clock: Clock,
        *,
        on_loopback: bool,
        unauthenticated: Collection[str] = (),
        origins: Collection[str] = (),
    ) -> None:
        self._keyring = keyring
        self.tickets = tickets
        invitation_key = hmac.digest(carriers.ticket_key, b"media sockets", "sha256")
        self._invitations = Tickets(invitation_key, INVITED_FOR_S, lambda: clock.utcnow().timestamp())
        self._carriers = carriers
        self._clock = clock
        self._on_loopback = on_loopback
        self._unauthenticated = frozenset(unauthenticated)
        self._origins = frozenset(origins)
        self._keys_until = 0.0
        self._keys_exist = True

    async def admit(self, request: web.Request, scope: Scope | None) -> Identity:
        """Who asks, if they may do this. Raises Refused: 401 for nobody we know, 403 for a missing scope."""
        who = await self._identify(request)
        if scope is not None and scope not in who.scopes:
            raise refuse(
                403, "This key may not do that", field="scope", value=" ".join(sorted(who.scopes)), allowed=scope
            )
        return who

    async def open_here(self) -> bool:
        """True while requests from this machine need no key: listening on loopback only, and no key made yet."""
        return OPEN_TO_ALL in self._unauthenticated or (self._on_loopback and not await self._any_keys())

    async def _identify(self, request: web.Request) -> Identity:
        if token := bearer(request):
            return await self._by_key(token)
        if ticket := request.query.get("ticket"):
            if who := self.tickets.read(ticket):
                return who
            raise _unknown("The ticket is not valid, or is older than it may be", "a new one from POST /tickets")
        if not await self.open_here():
            raise _unknown("An API key is needed", "Authorization: Bearer sk_… (make one: trunkline keys create)")
        self._require_local(request)
        return Identity(DEFAULT_TENANT, frozenset(SCOPES), "open", "open")

    async def _by_key(self, token: str) -> Identity:
        key = await self._keyring.verify(token)
        if key is None:
            raise _unknown("The API key is unknown or was revoked", "a key listed by: trunkline keys list")
        scopes = frozenset(scope for scope in SCOPES if allows(key, scope))
        return Identity(key.tenant, scopes, key.kind, "key", key.id)

    async def _any_keys(self) -> bool:
        now = self._clock.monotonic()
        if now >= self._keys_until:
            self._keys_exist = await self._keyring.any()
            self._keys_until = now + KEYS_SEEN_FOR_S
        return self._keys_exist

    def _require_local(self, request: web.Request) -> None:
        if OPEN_TO_ALL in self._unauthenticated:
            return
        if not is_local(request):
            raise _unknown(
                "Without a key the API answers only on this machine, not through a tunnel or proxy",
                "Authorization: Bearer sk_… (make one: trunkline keys create)",
            )
        origin = request.headers.get("Origin", "")
        if origin and origin not in self._origins and origin.partition("://")[2] != request.host:
            raise refuse(
                403, "A page of another site may not use the open API", field="Origin", value=origin,
                allowed="the service's own pages, or an origin in [server] cors_origins",
            )  # fmt: skip

    # carriers

    def invite(self, carrier: str, call_ref: str) -> str:
        """A path token for the media socket of this one call, good for `INVITED_FOR_S`."""
        return self._invitations.issue(carrier, (call_ref,))

    def media(self, request: web.Request, carrier: str, token: str | None) -> str:
        """Let a carrier's socket in. `token` is the path's, None on a bare path. Raises Refused (403).

        Returns the only call it may be, where the token is an invitation; else "".
        """
        if token is None:
            self._bare(request)
            return ""
        if same(token, self._carriers.media_token):
            return ""
        invited = self._invitations.read(token)
        if invited is None or invited.tenant != carrier:
            raise refuse(
                403,
                "The path's token is not right, or is older than it may be",
                allowed="/media/{carrier}/{token} as `trunkline doctor` prints it, or as the answer document just said",
            )
        return next(iter(invited.scopes))

    def here(self, request: web.Request) -> bool:
        """True for a request of this machine's own programs, while only they can reach us."""
        return self._on_loopback and is_local(request)

    def webhook(self, request: web.Request) -> None:
        """Let a carrier's webhook or dynamic endpoint in: by header or query secret. Raises Refused (403)."""
        given = request.headers.get("X-Webhook-Secret") or request.query.get("secret") or ""
        if same(given, self._carriers.webhook_secret):
            return
        if given or (
            self._carriers.webhook_secret_configured and not self._unauthenticated & {request.path, OPEN_TO_ALL}
        ):
            raise refuse(
                403, "The webhook secret is missing or not right", allowed="header X-Webhook-Secret or ?secret="
            )
        self._bare(request)

    def _bare(self, request: web.Request) -> None:
        if self._unauthenticated & {request.path, OPEN_TO_ALL} or self.here(request):
            return
        raise refuse(
            403, "This path is open only on the machine itself", field="path", value=request.path,
            allowed="a path with the secret token (trunkline doctor prints it), or [auth] allow_unauthenticated",
        )  # fmt: skip


def _unknown(title: str, allowed: str) -> Exception:
    return refuse(401, title, allowed=allowed, headers={"WWW-Authenticate": 'Bearer realm="trunkline"'})


def bearer(request: web.Request) -> str:
    """The key a request carries, "" when none."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else request.headers.get("X-API-Key", "").strip()


def same(given: str, secret: str) -> bool:
    """Equality that takes the same time wherever the two differ; an empty secret equals nothing."""
    return bool(secret) and hmac.compare_digest(given.encode("utf-8", "replace"), secret.encode())


def is_local(request: web.Request) -> bool:
    """True for a request that was addressed to this machine by a program on it.

    The Host header decides too: a tunnel's requests arrive from 127.0.0.1 but are addressed to the tunnel's name,
    and a page that rebinds its DNS name to 127.0.0.1 still sends its own name.
    """
    if any(name in request.headers for name in FORWARDED):
        return False
    peer = request.transport.get_extra_info("peername") if request.transport else None
    if isinstance(peer, tuple) and not is_loopback(str(peer[0])):
        return False
    return is_loopback(_hostname(request.host))


def _hostname(host: str) -> str:
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.rpartition(":")[0] or host if host.count(":") == 1 else host
