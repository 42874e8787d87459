"""The samples of docs/sip-peers.md, so that what is written there is what is tested."""

import re
import tomllib
from pathlib import Path
from typing import Any

PAGE = Path(__file__).parents[2] / "docs" / "sip-peers.md"


def sample(kind: str, name: str) -> str:
    """The block of that kind (toml, ini) that begins with "sample: name"."""
    (found,) = re.findall(rf"^```{kind}\n[#;] sample: {name}\n(.*?)^```$", PAGE.read_text("utf-8"), re.M | re.S)
    return str(found)


def trunk(name: str, host: str, **more: Any) -> dict[str, Any]:
    """The sample's trunk, at a host of the test's."""
    (row,) = tomllib.loads(sample("toml", name))["sip"]["trunk"]
    return {**row, "host": host, **more}
