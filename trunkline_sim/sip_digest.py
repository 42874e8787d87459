"""Digest authentication, RFC 7616 (and 2617's MD5): the caller's answer and the registrar's question. Pure."""

import hashlib
import re
import secrets
from collections.abc import Mapping

_FIELD = re.compile(r'(\w+)\s*=\s*(?:"([^"]*)"|([^\s,]+))')
_MADE = {"MD5": hashlib.md5, "SHA-256": hashlib.sha256}


def fields(header: str) -> dict[str, str]:
    """Of `Digest a="b", …`; {} for another scheme."""
    scheme, _, rest = header.strip().partition(" ")
    return {n.lower(): q or p for n, q, p in _FIELD.findall(rest)} if scheme.lower() == "digest" else {}


def _response(method: str, password: str, given: Mapping[str, str]) -> str:
    make = _MADE[given.get("algorithm", "MD5").upper()]

    def hashed(text: str) -> str:
        return make(text.encode()).hexdigest()

    ha1 = hashed(f"{given['username']}:{given['realm']}:{password}")
    ha2 = hashed(f"{method}:{given['uri']}")
    if "qop" not in given:
        return hashed(f"{ha1}:{given['nonce']}:{ha2}")
    return hashed(f"{ha1}:{given['nonce']}:{given['nc']}:{given['cnonce']}:{given['qop']}:{ha2}")


def answer(challenge: str, method: str, uri: str, user: str, password: str) -> str:
    """The `Authorization` to a challenge; "" when it is none that can be answered."""
    asked = fields(challenge)
    if not {"realm", "nonce"} <= asked.keys() or asked.get("algorithm", "MD5").upper() not in _MADE:
        return ""
    given = {"username": user, "realm": asked["realm"], "nonce": asked["nonce"], "uri": uri}
    plain = {"algorithm": asked.get("algorithm", "MD5")}
    if "auth" in asked.get("qop", "").split(","):
        given["cnonce"] = secrets.token_hex(8)
        plain |= {"qop": "auth", "nc": "00000001"}
    given["response"] = _response(method, password, {**given, **plain})
    if "opaque" in asked:
        given["opaque"] = asked["opaque"]
    quoted = [f'{name}="{value}"' for name, value in given.items()]
    return "Digest " + ", ".join([*quoted, *(f"{name}={value}" for name, value in plain.items())])


class Doorman:
    """Asks who they are: a nonce per process, names and passwords."""

    def __init__(self, users: Mapping[str, str], realm: str = "pstn.invalid") -> None:
        self._users = users
        self._realm = realm
        self._nonce = secrets.token_hex(16)

    def challenge(self) -> str:
        """Value of `WWW-Authenticate` or `Proxy-Authenticate`."""
        return f'Digest realm="{self._realm}", nonce="{self._nonce}", algorithm=MD5, qop="auth"'

    def lets_in(self, header: str, method: str) -> bool:
        """Whether these are the credentials of somebody known, for this method."""
        given = fields(header)
        password = self._users.get(given.get("username", ""))
        if password is None or given.get("nonce") != self._nonce:
            return False
        try:
            return _response(method, password, given) == given.get("response")
        except KeyError:
            return False
