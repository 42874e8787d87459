"""API keys: made once, shown once, kept as a hash. `sk_prod_…` and `sk_test_…` for clients, `sk_admin_…` for owners.

A key is 32 random characters of 62 (190 bits) and 6 of checksum, so that a mistyped or invented key is refused without
asking the database, and a leaked one can be found by a scanner. SHA-256 without salt or stretching is enough for what
nobody can guess. Tickets for browsers are in `trunkline.api_auth`.
"""

import hashlib
import hmac
import re
import secrets
import string
import zlib
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import Final, Protocol

from trunkline.calls.store import ApiKey
from trunkline.clock import Clock
from trunkline.errors import ConfigError

KINDS: Final = ("prod", "test", "admin")  # a test key never reaches a real carrier
SCOPES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "calls:read": "see calls, timelines, transcripts and recordings",
        "calls:write": "place calls, hang up, say something in one",
        "events:read": "follow the stream of events",
        "metrics:read": "read /metrics",
        "keys:write": "make and revoke keys",
        "campaigns:read": "see campaigns and reports",
        "campaigns:write": "import lists, start and stop campaigns",
        "synthesize": "turn text into speech",
        "voices": "list voices",
        "upload": "upload voices",
    }
)
DEFAULT_SCOPES: Final = ("calls:read", "calls:write", "events:read")
ALIASES: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(  # the earlier systems' permissions
    {
        "admin": tuple(SCOPES),
        "calls": ("calls:read", "calls:write"),
        "campaigns": ("campaigns:read", "campaigns:write"),
        "events": ("events:read",),
        "read": ("calls:read", "events:read", "campaigns:read"),
    }
)

_ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase
_RANDOM, _CHECK = 32, 6
_FORM = re.compile(rf"sk_({'|'.join(KINDS)})_([0-9A-Za-z]{{{_RANDOM}}})([0-9A-Za-z]{{{_CHECK}}})")


def make(
    kind: str, *, tenant: str = "default", scopes: Iterable[str] = (), label: str = "", now: datetime
) -> tuple[str, ApiKey]:
    """A new key: the text to show once, and what to keep. Without scopes: everything for admin, else calls and events.

    Raises ConfigError for an unknown kind, an unknown scope or an empty tenant.
    """
    if kind not in KINDS:
        raise ConfigError(f"kind {kind!r}: must be one of {', '.join(KINDS)}")
    if not tenant:
        raise ConfigError("tenant: must not be empty")
    granted = scopes_of(scopes)
    if not granted and kind != "admin":
        granted = DEFAULT_SCOPES
    body = f"sk_{kind}_" + _random(_RANDOM)
    text = body + _checksum(body)
    key = ApiKey(
        id=_random(10), tenant=tenant, kind=kind, hash=digest(text), scopes=granted, label=label, created_at=now
    )
    return text, key


def scopes_of(names: Iterable[str]) -> tuple[str, ...]:
    """Scopes in the order of SCOPES, the earlier permissions spelled out. Raises ConfigError for an unknown one."""
    wanted: set[str] = set()
    for name in names:
        if name not in SCOPES and name not in ALIASES:
            raise ConfigError(f"scope {name!r}: must be one of {', '.join([*SCOPES, *ALIASES])}")
        wanted.update(ALIASES.get(name, (name,)))
    return tuple(scope for scope in SCOPES if scope in wanted)


def allows(key: ApiKey, scope: str) -> bool:
    """Whether the key may do this. An admin key without scopes may do everything."""
    return scope in key.scopes or (key.kind == "admin" and not key.scopes)


def digest(presented: str) -> str:
    """What is kept of a key, and looked up: SHA-256, hex."""
    return hashlib.sha256(presented.encode("utf-8", "replace")).hexdigest()


def well_formed(presented: str) -> bool:
    """Whether a text can be one of our keys at all: form and checksum."""
    if not _FORM.fullmatch(presented):
        return False
    return hmac.compare_digest(_checksum(presented[:-_CHECK]), presented[-_CHECK:])


class KeyStore(Protocol):
    """What of the store is needed here."""

    async def key_by_hash(self, digest: str) -> ApiKey | None:
        """The unrevoked key with this hash."""
        ...

    async def keys(self, tenant: str | None = None) -> Sequence[ApiKey]:
        """All keys."""
        ...


class Keyring:
    """Checks presented keys, remembering good ones for a short while: a revoked key dies within `remember_s`.

    The lookup goes by hash, so its time tells nothing about a key.
    """

    def __init__(self, store: KeyStore, clock: Clock, *, remember_s: float = 2.0, most: int = 1_000) -> None:
        self._store = store
        self._clock = clock
        self._remember_s = remember_s
        self._most = most
        self._known: OrderedDict[str, tuple[float, ApiKey]] = OrderedDict()  # hash → (until, key), oldest first

    async def verify(self, presented: str) -> ApiKey | None:
        """The key, or None for one that is unknown, revoked, or no key at all. Raises StoreError."""
        if not well_formed(presented):
            return None
        hashed = digest(presented)
        known = self._known.get(hashed)
        if known and self._clock.monotonic() < known[0]:
            return known[1]
        self._known.pop(hashed, None)
        key = await self._store.key_by_hash(hashed)
        if key is None or key.revoked_at is not None:
            return None
        self._remember(hashed, key)
        return key

    async def any(self) -> bool:
        """Whether there is a key in force at all."""
        return any(key.revoked_at is None for key in await self._store.keys())

    def forget(self, key_id: str) -> None:
        """Ask the store about this key next time: it was just revoked here."""
        for hashed in [hashed for hashed, (_, key) in self._known.items() if key.id == key_id]:
            del self._known[hashed]

    def _remember(self, hashed: str, key: ApiKey) -> None:
        self._known[hashed] = (self._clock.monotonic() + self._remember_s, key)
        if len(self._known) > self._most:
            self._known.popitem(last=False)


def _random(length: int) -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(length))


def _checksum(body: str) -> str:
    value, text = zlib.crc32(body.encode()), ""
    for _ in range(_CHECK):
        value, rest = divmod(value, len(_ALPHABET))
        text = _ALPHABET[rest] + text
    return text
