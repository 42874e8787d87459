"""`config.toml` and `docs/config.md` hold exactly the settings that there are."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from trunkline import config
from trunkline.config import Settings
from trunkline.config_env import ENV_NAMES
from trunkline.config_load import configure, explain
from trunkline.config_tree import allowed, keys_of

ROOT = Path(__file__).parents[3]
FILE = (ROOT / "config.toml").read_text()
PAGE = (ROOT / "docs" / "config.md").read_text()
REPEATED: dict[str, type[msgspec.Struct]] = {
    "route": config.Route,
    "sip.user": config.SipUser,
    "sip.trunk": config.SipTrunk,
}


def _uncommented() -> dict[str, Any]:
    """The file with its commented-out settings switched on."""
    return tomllib.loads(re.sub(r"(?m)^# (?=\[\[[\w.]+\]\]$|\w+ = )", "", FILE))


def _keys(tree: dict[str, Any], at: str = "") -> Iterator[str]:
    for name, value in tree.items():
        if isinstance(value, dict):
            yield from _keys(value, f"{at}{name}.")
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            yield from _keys(value[0], f"{at}{name}.")
        else:
            yield at + name


def test_the_file_as_it_lies_is_the_defaults() -> None:
    assert configure(ROOT / "config.toml").settings == Settings()


def test_the_file_holds_every_setting() -> None:
    agent = {f"agents.receptionist.{name}" for name in config.Agent.__struct_fields__}
    tables = {f"{at}.{name}" for at, kind in REPEATED.items() for name in kind.__struct_fields__}
    assert set(_keys(_uncommented())) == {*keys_of(Settings), *agent, *tables}


def test_the_file_is_valid_with_everything_switched_on(tmp_path: Path) -> None:
    whole = tmp_path / "whole.toml"
    whole.write_text(re.sub(r"(?m)^# (?=\[\[[\w.]+\]\]$|\w+ = )", "", FILE))
    rows = explain(configure(whole))
    assert {row.source.partition(" ")[0] for row in rows} == {"whole.toml"}


def _default(field: msgspec.structs.FieldInfo) -> str:
    if field.required:
        return "required"
    made = field.default if field.default is not msgspec.NODEFAULT else field.default_factory()
    return "left out" if made is None else f"`{msgspec.json.encode(made).decode()}`"


def _expected() -> Iterator[str]:
    kinds: list[type[msgspec.Struct]] = [config.Agent, *REPEATED.values()]
    for kind in kinds:
        yield from (_row("", field) for field in msgspec.structs.fields(kind))
    yield from _sections(Settings, "")


def _sections(kind: type, at: str) -> Iterator[str]:
    for field in msgspec.structs.fields(kind):
        if isinstance(field.type, type) and issubclass(field.type, msgspec.Struct):
            yield from _sections(field.type, f"{at}{field.name}.")
        elif f"{at}{field.name}" not in ("agents", *REPEATED):
            yield _row(at, field)


def _row(at: str, field: msgspec.structs.FieldInfo) -> str:
    return f"| `{at}{field.name}` | {_default(field)} | {allowed(field.type)} |"


def test_the_page_holds_every_setting_with_default_and_limits_and_no_other() -> None:
    settings = PAGE.partition("## Settings")[2].partition("## Environment")[0]
    rows = re.findall(r"(?m)^(\| `.*?` \| .*? \| .*? \|) \S", settings)
    assert sorted(rows) == sorted(_expected())


def test_the_page_holds_every_environment_name_and_no_other() -> None:
    table = PAGE.partition("## Environment")[2].partition("\n## ")[0]
    assert re.findall(r"(?m)^\| `(\w+)` \|", table) == [known.name for known in ENV_NAMES]


@pytest.mark.parametrize("known", [known for known in ENV_NAMES if known.key], ids=lambda known: known.name)
def test_names_that_set_something_set_something_that_exists(known: Any) -> None:
    assert known.key in set(keys_of(Settings))
