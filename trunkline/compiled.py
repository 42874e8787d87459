"""The modules of a frame's path as machine code, where somebody compiled them: mypyc, `scripts/compile.sh`, ADR 0007.

The sources stay the only truth. A build lies in a folder named by the hash of the sources it was made of and of the
interpreter, and is taken only if that is the hash of the sources that are there now: an edited file is interpreted, and
with it all the others, until somebody compiles again. `TRUNKLINE_COMPILED=off` interprets in any case, any other value
is the folder to look in (default: `.cache/compiled` beside the package).
"""

import hashlib
import os
import sys
import sysconfig
from collections.abc import Sequence
from importlib.machinery import ExtensionFileLoader, ModuleSpec
from importlib.util import spec_from_file_location
from pathlib import Path
from types import ModuleType

PACKAGE = Path(__file__).parent
GROUP = "trunkline_compiled"  # mypyc's name for the library in which all modules are
SUFFIX = str(sysconfig.get_config_var("EXT_SUFFIX"))  # Python's version, the machine, the C library
MODULES = (
    "websocket_frames",
    "codecs.frame",
    "bridge.wire_audio",
    "ai.reply_audio",
    "calls.pieces",
    "bridge.channel",
    "bridge.rate",
    "bridge.timers",
    "bridge.telling",
    "bridge.ear",
    "bridge.inbound",
    "bridge.far_end",
    "bridge.sequence",
    "bridge.json_dialect",
    "bridge.stream_dialect",
    "bridge.carriers.twilio",
    "bridge.carriers.smartflo",
    "bridge.opening",
    "bridge.outgoing",
    "bridge.frame_socket",
    "bridge.media_leg",
    "codecs.fast",
    "codecs.level",
    "codecs.conceal",
    "codecs.g711",
    "codecs.resample",
    "calls.mouth",
    "calls.playout",
    "calls.ears",
    "calls.speech",
    "calls.session_line",
    "calls.inbox",
    "ai.cascade.session_outbox",
    "ai.gemini.channel",
    "ai.gemini.ear",
    "ai.gemini.sdk_link",
    "ai.gemini.voice",
    "ai.gemini.tape",
    "ai.gemini.reply",
    "ai.gemini.turns",
    "ai.gemini.live",
)


def source(module: str) -> Path:
    """Of one of MODULES."""
    return PACKAGE.joinpath(*module.split(".")).with_suffix(".py")


def digest() -> str:
    """What a build must have been made of: every source of the package, for mypyc takes constants and types from those
    that it only reads. Some 10 ms."""
    found = hashlib.sha256(SUFFIX.encode())
    for path in sorted(PACKAGE.rglob("*.py")):
        found.update(str(path.relative_to(PACKAGE)).encode() + b"\0" + path.read_bytes() + b"\0")
    return found.hexdigest()[:16]


def folder() -> Path | None:
    """Where builds are looked for; None: switched off."""
    chosen = os.environ.get("TRUNKLINE_COMPILED", "")
    if chosen.lower() in ("off", "0", "false", "no"):
        return None
    return Path(chosen) if chosen else PACKAGE.parent / ".cache" / "compiled"


class Finder:
    """Of `sys.meta_path`: our modules from one build."""

    def __init__(self, build: Path) -> None:
        self._paths = {GROUP + "__mypyc": build / f"{GROUP}__mypyc{SUFFIX}"}
        for module in MODULES:
            place = build.joinpath("trunkline", *module.split("."))
            self._paths[f"trunkline.{module}"] = place.with_name(place.name + SUFFIX)

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """See importlib.abc.MetaPathFinder."""
        found = self._paths.get(name)
        if found is None:
            return None
        return spec_from_file_location(name, found, loader=ExtensionFileLoader(name, str(found)))


def install() -> str:
    """Take a build that fits. Returns how the modules run from here on, in words."""
    where = folder()
    if where is None:
        return "interpreted (TRUNKLINE_COMPILED=off)"
    if not where.is_dir():
        return "interpreted (no build: scripts/compile.sh)"
    build = where / digest()
    if not (build / "complete").exists():
        return "interpreted (no build of these sources: scripts/compile.sh)"
    sys.meta_path.insert(0, Finder(build))
    return f"compiled ({build.name})"
