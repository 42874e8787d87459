"""Compiles `trunkline.compiled.MODULES` by mypyc into the folder that `trunkline.compiled` looks in. See compile.sh.

    python scripts/compile.py [--look]

Exit status: 0 a build fits, 1 compiling failed; with `--look`, which compiles nothing, 3 it cannot be done here, 4 only
mypyc is missing, 5 it can be done. The last line says why.
"""

import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
os.environ["TRUNKLINE_COMPILED_NOW"] = os.environ.pop("TRUNKLINE_COMPILED", "")  # asked for below
os.environ["TRUNKLINE_COMPILED"] = "off"  # what compiles is interpreted
sys.path.insert(0, str(ROOT))

from trunkline import compiled  # noqa: E402

CAN, NO_MYPYC, CANNOT = 5, 4, 3
KEPT = 3  # builds: a service that runs may yet load from an older one
TRIAL_S = 300.0
LEFT_S = 86_400.0  # a folder of a compiler that was killed is nobody's after this
_TRIAL = ("-m", "bench.frame_path", "--who", "service", "--kinds", "both,up,down", "--rounds", "1", "--frames", "2000")
_FLAGS: set[str] = set()  # of one build and not of the next
_CHECK = """
import importlib, pathlib, sys
from trunkline import compiled
sys.meta_path.insert(0, compiled.Finder(pathlib.Path(sys.argv[1])))
for name in compiled.MODULES:
    assert importlib.import_module("trunkline." + name).__file__.endswith(compiled.SUFFIX), name
"""


def look() -> tuple[int, str]:
    """(exit status, why)."""
    compiler = os.environ.get("CC") or (sysconfig.get_config_var("CC") or "cc").split()[0]
    if shutil.which(compiler) is None:
        return CANNOT, f"there is no C compiler ({compiler})"
    if not (Path(sysconfig.get_paths()["include"]) / "Python.h").exists():
        return CANNOT, "Python's headers are not there (Debian: python3-dev)"
    try:
        import mypyc.build
        import setuptools  # noqa: F401
    except ImportError as error:
        return NO_MYPYC, f"mypyc is not there ({error})"
    return CAN, mypyc.build.__name__


def compile_into(build: Path, work: Path, digest: str) -> None:
    """All modules as one library and a small extension each; twice, where the compiler can learn from a run."""
    from mypyc.build import mypycify

    os.chdir(ROOT)  # where mypy's settings are
    sources = [str(compiled.source(module).relative_to(ROOT)) for module in compiled.MODULES]
    options = ["--config-file", "pyproject.toml", "--cache-dir", str(ROOT / ".cache" / "mypyc"), *sources]
    extensions = mypycify(
        options, opt_level="2", debug_level="0", group_name=compiled.GROUP, target_dir=str(work / "c")
    )
    learned = str(work / "learned")
    try:
        trial = work / "trial" / digest
        _build(extensions, trial, work, f"-fprofile-generate={learned}", "-fprofile-update=atomic")
        (trial / "complete").touch()
        subprocess.run(  # noqa: S603 - ourselves
            [sys.executable, *_TRIAL], check=True, cwd=ROOT, stdout=subprocess.DEVNULL,
            env={**os.environ, "TRUNKLINE_COMPILED": str(trial.parent)}, timeout=TRIAL_S,
        )  # fmt: skip
        if not any(Path(learned).rglob("*.gcda")):  # GCC would lay out by what it does not know, and not say so
            raise RuntimeError("the trial run left nothing to learn from")
        _build(extensions, build, work, f"-fprofile-use={learned}", "-fprofile-correction", "-Wno-missing-profile")
    except (Exception, SystemExit) as error:  # another compiler than GCC, or no bench
        print(f"without a trial run: {error}", file=sys.stderr)
        shutil.rmtree(build, ignore_errors=True)
        _build(extensions, build, work, "-Os")


def _build(extensions: list[Any], build: Path, work: Path, *flags: str) -> None:
    from setuptools import setup

    for extension in extensions:
        extension.extra_compile_args = [*(f for f in extension.extra_compile_args if f not in _FLAGS), *flags]
        extension.extra_link_args = [flag for flag in flags if flag.startswith("-fprofile-generate")]
    _FLAGS.update(flags)
    os.chdir(work)  # where no pyproject.toml is
    arguments = ["-q", "build_ext", "--force", "--build-lib", str(build), "--build-temp", str(work / "o")]
    setup(name=compiled.GROUP, packages=[], ext_modules=extensions, script_args=arguments)


def make(where: Path, digest: str) -> None:
    """A build of these sources in `where`, tried before it counts."""
    where.mkdir(parents=True, exist_ok=True)
    for left in where.glob(".making-*"):
        if left.stat().st_mtime < time.time() - LEFT_S:
            shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(dir=where, prefix=".making-") as folder:
        build = Path(folder) / "build"
        compile_into(build, Path(folder), digest)
        if digest != compiled.digest():
            raise SystemExit("a source was edited meanwhile: compile again")
        subprocess.run([sys.executable, "-c", _CHECK, str(build)], check=True, cwd=ROOT)  # noqa: S603 - ourselves
        (build / "complete").touch()
        build.rename(where / digest)
    builds = [found for found in where.iterdir() if not found.name.startswith(".")]
    for old in sorted(builds, key=lambda found: found.stat().st_mtime)[:-KEPT]:
        shutil.rmtree(old, ignore_errors=True)


def main() -> int:
    """See above."""
    os.environ["TRUNKLINE_COMPILED"] = os.environ["TRUNKLINE_COMPILED_NOW"]
    where, digest = compiled.folder(), compiled.digest()
    if where is None or (where / digest / "complete").exists():
        return 0
    status, why = look()
    if "--look" in sys.argv or status != CAN:
        print(why)
        return status
    os.environ["TRUNKLINE_COMPILED"] = "off"
    make(where, digest)
    return 0


if __name__ == "__main__":
    sys.exit(main())
