"""Trunkline: AI voice agents on real phone lines.

Public names (semver): `Service` and `Settings`, to run a worker or mount it; for types import them from
`trunkline.service` and `trunkline.config`, where they live. Found on first use: `import trunkline` stays light.
"""

from importlib import import_module
from typing import Any

from trunkline import compiled

__version__ = "0.1.0"
__all__ = ["Service", "Settings", "__version__"]

RUNS = compiled.install()  # "compiled (…)" or "interpreted (why)"; before anything that may be compiled is imported
_HOMES = {"Service": "trunkline.service", "Settings": "trunkline.config"}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'trunkline' has no attribute {name!r}")
