"""Digest authentication of INVITEs that come to us: RFC 7616, one challenge per algorithm (RFC 8760). Pure.

A telephone answers the first challenge that it can; many old ones look at the first alone and fail at SHA-256. So MD5
goes first unless told otherwise: a call that is refused is worse than a digest that needs a good password.

A nonce carries its own time and a keyed hash over it and the sender's address, so that none is stored until it has been
used once; then its highest count is kept, and a count that does not grow is a replay. qop is always `auth`.
"""

import base64
import binascii
import hashlib
import hmac
import re
import secrets
import struct
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from typing import Final, Literal, TypeAlias

Verdict: TypeAlias = Literal["ok", "none", "stale", "wrong"]
NONCE_S: Final = 120.0  # for how long one may be used
MOST_NONCES: Final = 4096  # used ones that are remembered, more than can be used within NONCE_S in earnest
_ALGORITHMS: Final = {"SHA-256": hashlib.sha256, "MD5": hashlib.md5}
_STAMP = struct.Struct(">Q4s")  # ms, random
_FIELD = re.compile(r'([a-zA-Z]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))')


def fields(header: str) -> dict[str, str]:
    """The parameters of an `Authorization: Digest …`, names in lower case; {} for another scheme."""
    scheme, _, rest = header.strip().partition(" ")
    if scheme.lower() != "digest":
        return {}
    found: dict[str, str] = {}
    for name, quoted, plain in _FIELD.findall(rest):
        if name.lower() in found:
            return {}  # said twice: which one is meant nobody knows
        found[name.lower()] = re.sub(r"\\(.)", r"\1", quoted) if quoted else plain
    return found


def response(method: str, password: str, given: Mapping[str, str]) -> str:
    """What RFC 7616 3.4.1 computes from those fields; raises KeyError when one is missing or unknown."""
    make = _ALGORITHMS[given.get("algorithm", "MD5").upper()]

    def hashed(text: str) -> str:
        return make(text.encode()).hexdigest()

    ha1 = hashed(f"{given['username']}:{given['realm']}:{password}")
    ha2 = hashed(f"{method}:{given['uri']}")
    return hashed(f"{ha1}:{given['nonce']}:{given['nc']}:{given['cnonce']}:{given['qop']}:{ha2}")


class Digest:
    """One realm and its users. Times are seconds of any clock that all calls share."""

    def __init__(
        self,
        realm: str,
        users: Mapping[str, str],
        algorithms: Iterable[str] = ("MD5", "SHA-256"),
        key: bytes | None = None,
    ) -> None:
        """users: name → password. Raises KeyError for an algorithm that is none of ours."""
        self._algorithms = {name: _ALGORITHMS[name] for name in algorithms}
        self._realm = realm
        self._users = users
        self._key = key or secrets.token_bytes(32)
        self._counts: OrderedDict[str, int] = OrderedDict()  # of nonces that have been used

    def challenge(self, source: str, now: float, *, stale: bool = False, salt: bytes | None = None) -> list[str]:
        """Values for `WWW-Authenticate`, in the algorithms' order. source: the address that asked, without its port."""
        nonce = self._nonce(source, now, salt or secrets.token_bytes(4))
        late = ", stale=true" if stale else ""
        return [
            f'Digest realm="{self._realm}", nonce="{nonce}", algorithm={name}, qop="auth"{late}'
            for name in self._algorithms
        ]

    def _nonce(self, source: str, now: float, salt: bytes) -> str:
        stamp = _STAMP.pack(round(now * 1000), salt)
        return base64.urlsafe_b64encode(stamp + self._mac(stamp, source)).decode()

    def _mac(self, stamp: bytes, source: str) -> bytes:
        return hmac.digest(self._key, stamp + source.encode(), "sha256")[:12]

    def check(self, header: str, method: str, source: str, now: float) -> tuple[Verdict, str]:
        """The verdict on an `Authorization` header, and the user's name when it is "ok". "none": not a try at all."""
        given = fields(header)
        if not given or given.get("realm") != self._realm or not self._asked(given):
            return "none", ""
        if not self._genuine(given.get("nonce", ""), source):
            return "stale", ""  # another process's, another address's, or made up
        if not self._right(given, method):
            return "wrong", ""
        if self._aged(given["nonce"], now) or not self._counted(given):
            return "stale", ""
        return "ok", given["username"]

    def _asked(self, given: Mapping[str, str]) -> bool:
        return given.get("algorithm", "MD5").upper() in self._algorithms

    def _genuine(self, nonce: str, source: str) -> bool:
        try:
            raw = base64.b64decode(nonce, altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            return False
        stamp, mac = raw[: _STAMP.size], raw[_STAMP.size :]
        return len(stamp) == _STAMP.size and hmac.compare_digest(mac, self._mac(stamp, source))

    def _right(self, given: Mapping[str, str], method: str) -> bool:
        known = self._users.get(given.get("username", ""))
        try:
            want = response(method, known if known is not None else secrets.token_hex(8), given)
        except KeyError:
            return False
        same = hmac.compare_digest(want.encode(), given.get("response", "").lower().encode())
        return same and known is not None and given["qop"] == "auth"

    def _aged(self, nonce: str, now: float) -> bool:
        made, _ = _STAMP.unpack(base64.urlsafe_b64decode(nonce)[: _STAMP.size])
        return not 0 <= now - made / 1000 + 0.001 <= NONCE_S

    def _counted(self, given: Mapping[str, str]) -> bool:
        try:
            count = int(given["nc"], 16)
        except ValueError:
            return False
        if count <= self._counts.get(given["nonce"], 0):
            return False
        self._counts[given["nonce"]] = count
        self._counts.move_to_end(given["nonce"])
        while len(self._counts) > MOST_NONCES:
            self._counts.popitem(last=False)
        return True
