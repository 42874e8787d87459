"""From `config.toml`, environment and command line to `Settings`, and back to "what is in force, and why".

Command line beats environment beats file beats default. Every error is a ConfigError that names the key, the value
and what is allowed.
"""

import ipaddress
import shutil
import sys
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from trunkline.config import Settings
from trunkline.config_check import check
from trunkline.config_env import ENV_NAMES, PREFIX, EnvName, lookup, origin
from trunkline.config_tree import Place, Sources, build, expand, insert, keys_of, unknown_key
from trunkline.errors import ConfigError

SECRET_KEYS = frozenset(
    (
        *("auth.media_token", "auth.webhook_secret", "carriers.twilio.auth_token", "carriers.twilio.other_auth_token"),
        "redis_url",  # may hold a password in more than one place
    )
)
DEFAULT_FILE = "config.toml"


@dataclass(frozen=True, slots=True)
class Configuration:
    """Settings and where each value came from."""

    settings: Settings
    sources: Mapping[str, str] = field(default_factory=dict)  # dotted key → source; a key that is absent: default
    environment: tuple["EnvRow", ...] = ()  # the known names that were set


@dataclass(frozen=True, slots=True)
class EnvRow:
    """A known environment name that is set. `status`: "sets server.port", "used by …" or "known, not used yet"."""

    name: str
    value: str
    status: str


@dataclass(frozen=True, slots=True)
class Row:
    """One line of `trunkline check`: the value in force, masked where secret, and why it is in force."""

    key: str
    value: str
    source: str


def load(
    path: str | Path | None = None, env: Mapping[str, str] | None = None, overrides: Mapping[str, object] | None = None
) -> Settings:
    """The settings in force; see `configure`."""
    return configure(path, env, overrides).settings


def configure(
    path: str | Path | None = None, env: Mapping[str, str] | None = None, overrides: Mapping[str, object] | None = None
) -> Configuration:
    """Read everything once.

    `path` None: $TRUNKLINE_CONFIG, else `config.toml` here if there is one, else the defaults. `overrides`: the command
    line, by dotted key ({"server.port": 9000}); a value of None is "not given". Raises ConfigError.
    """
    env = {} if env is None else env
    file = _file(path, env)
    tree, sources = _read_file(file, env) if file else ({}, {})
    used = list(_apply_environment(tree, sources, env))
    for key, value in (overrides or {}).items():
        if value is not None:
            _set(tree, sources, key, value, Place("command line", ""))
    settings = build(Settings, tree, "", sources)
    check(settings, sources)
    shown = {key: place.shown for key, place in sources.items()}
    return Configuration(settings, shown, tuple(used))


def database_url(settings: Settings) -> str:
    """Where the store is: the configured one, or the SQLite file under `data_dir`."""
    return settings.database_url or f"sqlite:///{Path(settings.server.data_dir) / 'trunkline.db'}"


def explain(configuration: Configuration) -> list[Row]:
    """Every setting in force, in the order of the file, secrets masked."""
    rows = []
    for key, value in _flatten(msgspec.to_builtins(configuration.settings), ""):
        shown = masked(key, value)
        rows.append(Row(key, shown, _source(configuration.sources, key)))
    return rows


def masked(key: str, value: object) -> str:
    """`value` as a person may see it."""
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    if key in SECRET_KEYS or key.endswith(".password"):
        return "set, not shown" if text else ""
    return _without_password(text) if key == "database_url" else text


def is_loopback(host: str) -> bool:
    """Whether a bind address can only be reached from this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def require_safe_bind(configuration: Configuration, *, has_keys: bool) -> None:
    """Refuse to serve other machines with an open API (DESIGN 4.15). Raises ConfigError that says what to do."""
    server, auth = configuration.settings.server, configuration.settings.auth
    if has_keys or is_loopback(server.host) or "*" in auth.allow_unauthenticated:
        return
    why = _source(configuration.sources, "server.host")
    raise ConfigError(
        f"server.host = {server.host!r} ({why}): other machines could reach the API, and there is no key yet. "
        f"Create one with `{program()} keys create --kind admin`, or bind to 127.0.0.1, "
        'or open the API to everybody with auth.allow_unauthenticated = ["*"].'
    )


def program() -> str:
    """How our command is typed here: by name where the shell finds it, else as it was started."""
    if shutil.which("trunkline"):
        return "trunkline"
    beside = Path(sys.prefix) / "bin" / "trunkline"
    if not beside.exists():
        return f"{sys.executable} -m trunkline"
    return str(beside.relative_to(Path.cwd())) if beside.is_relative_to(Path.cwd()) else str(beside)


def _file(path: str | Path | None, env: Mapping[str, str]) -> Path | None:
    named = path or env.get("TRUNKLINE_CONFIG")
    if named:
        return Path(named)
    return Path(DEFAULT_FILE) if Path(DEFAULT_FILE).exists() else None


def _read_file(file: Path, env: Mapping[str, str]) -> tuple[dict[str, Any], Sources]:
    try:
        raw = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: cannot be read ({error})") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{file}: not valid TOML: {error}") from error
    sources: Sources = {}
    return expand(raw, file.name, env, sources), sources


def _apply_environment(tree: dict[str, Any], sources: Sources, env: Mapping[str, str]) -> Iterator[EnvRow]:
    for known in ENV_NAMES:
        text = lookup(env, known.name) if known.secret else env.get(known.name) or None
        if text is None:
            continue
        name = origin(env, known.name)
        if known.key and (value := known.value(text)) is not None:
            _set(tree, sources, known.key, value, Place("environment", name))
        yield EnvRow(name, _shown(known, text), _status(known))
    yield from _apply_prefixed(tree, sources, env)


def _apply_prefixed(tree: dict[str, Any], sources: Sources, env: Mapping[str, str]) -> Iterator[EnvRow]:
    known = {PREFIX + key.upper().replace(".", "__"): key for key in keys_of(Settings)}
    for name in sorted(name for name in env if name.startswith(PREFIX)):
        key = known.get(name) or known.get(name.removesuffix("_FILE"))
        if key is None:
            raise ConfigError(unknown_key(name, "environment", list(known)))
        text = lookup(env, name if name in known else name.removesuffix("_FILE"))
        if text is not None:
            _set(tree, sources, key, text, Place("environment", name))
            yield EnvRow(name, masked(key, text), f"sets {key}")


def _set(tree: dict[str, Any], sources: Sources, key: str, value: object, place: Place) -> None:
    insert(tree, key, value)
    sources[key] = place


def _status(known: EnvName) -> str:
    if known.key:
        return f"sets {known.key}"
    return f"used by {known.used_by}" if known.used_by else "known, not used yet"


def _shown(known: EnvName, text: str) -> str:
    if known.key:
        return masked(known.key, text)
    return "set, not shown" if known.secret else text


def _source(sources: Mapping[str, str], key: str) -> str:
    while key:
        if key in sources:
            return sources[key]
        key = key.rpartition(".")[0]
    return "default"


def _flatten(value: object, at: str) -> Iterator[tuple[str, object]]:
    if isinstance(value, dict) and value:
        for name, inner in value.items():
            yield from _flatten(inner, f"{at}.{name}" if at else name)
    elif isinstance(value, (list, tuple)) and value and isinstance(value[0], dict):
        for index, inner in enumerate(value):
            yield from _flatten(inner, f"{at}[{index}]")
    else:
        yield at, value


def _without_password(url: str) -> str:
    scheme, mark, rest = url.partition("://")
    who, at, where = rest.rpartition("@")
    if not at:
        return url
    return f"{scheme}{mark}{who.partition(':')[0]}:***@{where}"
