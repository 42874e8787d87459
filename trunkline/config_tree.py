"""A tree of plain values (TOML) against the structs of `trunkline.config`: expansion, unknown keys, conversion."""

import difflib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar, get_args, get_origin

import msgspec
from msgspec import inspect

from trunkline.config import Settings
from trunkline.config_env import lookup
from trunkline.errors import ConfigError

T = TypeVar("T", bound=msgspec.Struct)
_VARIABLE = re.compile(r"\$\$|\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}|\$\{")
_WORDS = {"on": True, "yes": True, "true": True, "1": True, "off": False, "no": False, "false": False, "0": False}
_HIDDEN = re.compile(r"token|secret|password|api_key|database_url|redis_url", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a value was found: kind "config.toml", "environment" or "command line", and the name there."""

    kind: str
    name: str

    @property
    def shown(self) -> str:
        """For people: `environment PORT`."""
        return f"{self.kind} {self.name}".strip()


Sources: TypeAlias = dict[str, Place]


def expand(raw: Mapping[str, Any], file: str, env: Mapping[str, str], sources: Sources) -> dict[str, Any]:
    """`${NAME}` and `${NAME:-default}` in every string; `$$` is a dollar. Fills `sources` with each leaf's place."""
    return {key: _expand(value, key, file, env, sources) for key, value in raw.items()}


def _expand(value: Any, at: str, file: str, env: Mapping[str, str], sources: Sources) -> Any:
    if isinstance(value, dict):
        return {key: _expand(inner, f"{at}.{key}", file, env, sources) for key, inner in value.items()}
    if isinstance(value, list):
        sources[at] = Place(file, "")
        return [_expand(inner, f"{at}[{index}]", file, env, sources) for index, inner in enumerate(value)]
    names: list[str] = []
    if isinstance(value, str):
        value = _VARIABLE.sub(lambda match: _variable(match, at, env, names), value)
    sources[at] = Place(file, f"({', '.join('${' + name + '}' for name in names)})" if names else "")
    return value


def _variable(match: re.Match[str], at: str, env: Mapping[str, str], names: list[str]) -> str:
    name, default = match.group(1), match.group(2)
    if match.group(0) == "$$":
        return "$"
    if name is None:
        raise ConfigError(f"{at}: after `${{` a name and `}}` must follow; write `$${{` for the characters themselves")
    names.append(name)
    value = lookup(env, name)
    if value is None and default is None:
        raise ConfigError(f"{at}: ${{{name}}} is not set in the environment; set it or write ${{{name}:-default}}")
    return value if value is not None else default


def insert(tree: dict[str, Any], key: str, value: object) -> None:
    """Put a value at a dotted key, making the sections on the way."""
    *sections, last = key.split(".")
    for section in sections:
        inner = tree.setdefault(section, {})
        if not isinstance(inner, dict):
            raise ConfigError(f"{key}: {section} is a single value in the file, not a section")
        tree = inner
    tree[last] = value


def build(kind: type[T], raw: object, at: str, sources: Sources) -> T:
    """A struct of `kind` from a table, each key checked and converted by its type."""
    if not isinstance(raw, dict):
        raise ConfigError(f"{_where(at, sources)} = {_repr(at, raw)}: must be a section ([{at}])")
    fields = {field.encode_name: field for field in msgspec.structs.fields(kind)}
    for key in raw:
        if key not in fields:
            full = f"{at}.{key}".lstrip(".")
            near = [f"{at}.{name}".lstrip(".") for name in fields]
            raise ConfigError(unknown_key(full, _kind(full, sources), near, list(keys_of(Settings))))
    values = {
        field.name: _value(field.type, raw[key], f"{at}.{key}".lstrip("."), sources)
        for key, field in fields.items()
        if key in raw
    }
    missing = [key for key, field in fields.items() if field.required and key not in raw]
    if missing:
        raise ConfigError(f"{at}.{missing[0]}: is missing and has no default")
    return kind(**values)


def _value(kind: Any, raw: object, at: str, sources: Sources) -> Any:
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return build(kind, raw, at, sources)
    if get_origin(kind) is dict:
        return {name: build(get_args(kind)[1], inner, f"{at}.{name}", sources) for name, inner in _table(raw, at)}
    inner_kind = get_args(kind)[0] if get_origin(kind) is tuple else None
    if isinstance(inner_kind, type) and issubclass(inner_kind, msgspec.Struct):
        if not isinstance(raw, list):
            raise ConfigError(f"{at}: must be a list of tables ([[{at}]])")
        return tuple(build(inner_kind, inner, f"{at}[{index}]", sources) for index, inner in enumerate(raw))
    return _leaf(kind, raw, at, sources)


def _table(raw: object, at: str) -> list[tuple[str, object]]:
    if isinstance(raw, dict):
        return list(raw.items())
    raise ConfigError(f"{at} = {raw!r}: must be sections ([{at}.NAME])")


def _leaf(kind: Any, raw: object, at: str, sources: Sources) -> Any:
    try:
        return msgspec.convert(_prepared(kind, raw), kind, strict=False)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{_where(at, sources)} = {_repr(at, raw)}: must be {allowed(kind)}") from error


def _prepared(kind: Any, raw: object) -> object:
    """What a person may have written as text (environment, command line) in the form that the type wants."""
    if not isinstance(raw, str):
        return raw
    if get_origin(kind) is tuple:
        return [part.strip() for part in raw.strip("[]").split(",") if part.strip()]
    shape = inspect.type_info(kind)
    if isinstance(shape, inspect.BoolType):
        return _WORDS.get(raw.lower(), raw)
    if _literals(shape) and raw not in _literals(shape):
        return raw.lower()
    return raw


def _literals(shape: inspect.Type) -> tuple[object, ...]:
    if isinstance(shape, inspect.LiteralType):
        return shape.values
    if isinstance(shape, inspect.UnionType):
        return tuple(value for part in shape.types for value in _literals(part))
    return ()


def allowed(kind: Any) -> str:
    """What a type allows, in words."""
    return _allowed(inspect.type_info(kind))


def _allowed(shape: inspect.Type) -> str:
    if values := _literals(shape):
        return "one of " + ", ".join(str(value) for value in values)
    match shape:
        case inspect.BoolType():
            return "true or false"
        case inspect.IntType():
            return "a whole number" + _range(shape)
        case inspect.FloatType():
            return "a number" + _range(shape)
        case inspect.StrType():
            return "a text" + (" that is not empty" if shape.min_length else "")
        case inspect.VarTupleType():
            return "a list of texts"
    return "another kind of value"


def _range(shape: inspect.IntType | inspect.FloatType) -> str:
    parts = [(" from", shape.ge), (" above", shape.gt), (" to" if shape.ge is not None else " up to", shape.le)]
    return "".join(f"{word} {bound:,.15g}".replace(",", "") for word, bound in parts if bound is not None)


def unknown_key(key: str, found: str, near: list[str], far: list[str] | None = None) -> str:
    """The message for a key that does not exist: names the nearest beside it, or the same word in another section."""
    by_word = {_last(name): name for name in near}
    words = difflib.get_close_matches(_last(key), by_word, 1, 0.7)
    match = [name for name in far or () if _last(name) == _last(key)][:1] if not words else [by_word[words[0]]]
    hint = f"did you mean {match[0]}?" if match else "known here: " + ", ".join(sorted(near))
    return f"{found}: unknown key {key}; {hint}".lstrip(": ")


def _last(key: str) -> str:
    return key.rpartition(".")[2]


def keys_of(kind: type, at: str = "") -> Iterator[str]:
    """Dotted keys of all single values below a struct; sections with free names and lists of tables are left out."""
    for field in msgspec.structs.fields(kind):
        key = f"{at}.{field.encode_name}".lstrip(".")
        if isinstance(field.type, type) and issubclass(field.type, msgspec.Struct):
            yield from keys_of(field.type, key)
        elif get_origin(field.type) is dict:
            continue
        elif not (get_origin(field.type) is tuple and hasattr(get_args(field.type)[0], "__struct_fields__")):
            yield key


def _where(at: str, sources: Sources) -> str:
    place = sources.get(at)
    if place is None:
        return at
    return f"{place.name} ({at})" if place.kind == "environment" else f"{place.kind}: {at}"


def _kind(at: str, sources: Sources) -> str:
    for key, place in sources.items():
        if key == at or key.startswith((at + ".", at + "[")):
            return place.shown
    return ""


def _repr(at: str, raw: object) -> str:
    return "(not shown)" if _HIDDEN.search(at) else repr(raw)[:100]
