"""What one type cannot say: values that must fit each other. Pure; raises ConfigError at the first that does not."""

import difflib
import re
from collections.abc import Collection, Iterator
from urllib.parse import urlsplit

from trunkline.config import AudioSocket, Settings
from trunkline.config_check_sip import networks as _networks
from trunkline.config_check_sip import sip_complaints
from trunkline.config_tree import Sources
from trunkline.errors import ConfigError
from trunkline.proxies import address_of

_TOKEN = re.compile(r"[A-Za-z0-9_-]{16,128}")
_LINE = re.compile(r"\s*[0-9A-Fa-f*-]+\s*=\s*\+?[0-9A-Za-z*#_.-]*\s*")
_DATABASES = ("sqlite", "sqlite+aiosqlite", "postgresql", "postgres", "postgresql+asyncpg")


def check(settings: Settings, sources: Sources) -> None:
    """Raise the first complaint, with the place where the value was found."""
    for key, complaint in complaints(settings):
        place = sources.get(key)
        raise ConfigError(f"{place.shown}: {key}{complaint}" if place else f"{key}{complaint}")


def complaints(settings: Settings) -> Iterator[tuple[str, str]]:
    """Each setting that does not fit the others: dotted key, and " = value: must be …"."""
    yield from _agents(settings)
    yield from _server(settings)
    yield from _auth(settings)
    yield from sip_complaints(settings.sip)
    yield from _audiosocket(settings.audiosocket)
    turn = settings.ai.offline
    if turn.short_end_of_turn_s > turn.end_of_turn_s:
        most = f"must be at most ai.offline.end_of_turn_s ({turn.end_of_turn_s} s)"
        yield "ai.offline.short_end_of_turn_s", f" = {turn.short_end_of_turn_s}: {most}"
    scheme, mark, _ = settings.database_url.partition("://")
    if settings.database_url and not (mark and scheme in _DATABASES):
        begins = f" begins with {scheme!r}" if mark and scheme.isalnum() else ""  # the rest may hold a password
        yield "database_url", f"{begins}: must be sqlite:///FILE or postgresql://USER@HOST/NAME"
    if settings.redis_url and not settings.redis_url.startswith(("redis://", "rediss://", "unix://")):
        yield "redis_url", ": must be redis://HOST:6379/0, rediss:// (TLS) or unix:///PATH"  # may be a password


def _agents(settings: Settings) -> Iterator[tuple[str, str]]:
    if settings.default_agent not in settings.agents:
        yield "default_agent", f" = {settings.default_agent!r}: {_no_agent(settings.default_agent, settings.agents)}"
    for index, route in enumerate(settings.route):
        if route.agent not in settings.agents:
            yield f"route[{index}].agent", f" = {route.agent!r}: {_no_agent(route.agent, settings.agents)}"
        if not route.to:
            yield f"route[{index}].to", ' = "": must be a number, a pattern such as "+9180*", or "*"'


def _no_agent(name: str, agents: Collection[str]) -> str:
    near = difflib.get_close_matches(name, agents, 1)
    hint = f"did you mean {near[0]!r}?" if near else "there are " + (", ".join(sorted(agents)) or "none")
    return f"there is no [agents.{name}]; {hint}"


def _server(settings: Settings) -> Iterator[tuple[str, str]]:
    server = settings.server
    if server.public_url and not _is_url(server.public_url, ("http", "https")):
        yield "server.public_url", f" = {server.public_url!r}: must be https://HOST[:PORT][/PATH] (or http://)"
    yield from _networks("server.trusted_proxies", server.trusted_proxies)
    if bool(server.tls_cert) != bool(server.tls_key):
        empty, given = ("tls_key", "tls_cert") if server.tls_cert else ("tls_cert", "tls_key")
        yield f"server.{empty}", f" is empty, but server.{given} is not: TLS needs both files"
    for origin in server.cors_origins:
        if origin != "*" and not _is_url(origin, ("http", "https")):
            yield "server.cors_origins", f" has {origin!r}: must be https://HOST[:PORT] or *"
    yield from _place("server.metrics_bind", server.metrics_bind)
    if not server.host:
        yield "server.host", ' = "": must be an address such as 127.0.0.1, or 0.0.0.0 for all'


def _auth(settings: Settings) -> Iterator[tuple[str, str]]:
    if settings.auth.media_token and not _TOKEN.fullmatch(settings.auth.media_token):
        yield "auth.media_token", ": must be 16 to 128 characters of A-Z a-z 0-9 _ - (it stands in a URL's path)"
    for path in settings.auth.allow_unauthenticated:
        if path != "*" and not path.startswith("/"):
            yield "auth.allow_unauthenticated", f' has {path!r}: must be a path such as "/ws", or "*" for everything'
    yield from _networks("auth.allow_carriers_from", settings.auth.allow_carriers_from)


def _audiosocket(audiosocket: AudioSocket) -> Iterator[tuple[str, str]]:
    yield from _place("audiosocket.listen", audiosocket.listen)
    yield from _networks("audiosocket.allow", audiosocket.allow)
    for line in audiosocket.lines:
        if not _LINE.fullmatch(line):
            yield "audiosocket.lines", f" has {line!r}: must be UUID=NUMBER; a * in the UUID stands for any digits"
    host = audiosocket.listen.rpartition(":")[0]
    if host and not (_is_loopback(host) or audiosocket.allow):
        yield (
            "audiosocket.listen",
            (
                f" = {audiosocket.listen!r}: other machines could call, and the protocol knows no password: "
                'name those that may in audiosocket.allow, such as ["10.0.0.7"], or listen on 127.0.0.1'
            ),
        )


def _is_loopback(host: str) -> bool:
    address = address_of(host)
    return host == "localhost" or (address is not None and address.is_loopback)


def _place(key: str, text: str) -> Iterator[tuple[str, str]]:
    host, colon, port = text.rpartition(":")
    if text and not (host and colon and port.isdecimal() and int(port) <= 65_535):
        yield key, f" = {text!r}: must be HOST:PORT"


def _is_url(text: str, schemes: tuple[str, ...]) -> bool:
    try:
        parts = urlsplit(text)
        return parts.scheme in schemes and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        return False
