"""Machine code is taken only if it was made of the sources that are there; and they stay within what mypyc keeps."""

import ast
import os
import shutil
from pathlib import Path

import pytest

import trunkline
from trunkline import compiled

OFF = ("off", "0", "false", "no")


def test_this_run_is_what_it_was_asked_to_be() -> None:
    asked = os.environ["TRUNKLINE_COMPILED"]
    assert trunkline.RUNS.startswith("interpreted" if asked in OFF else "compiled"), trunkline.RUNS


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small package and an empty folder for builds of it."""
    package = tmp_path / "trunkline"
    (package / "bridge").mkdir(parents=True)
    (package / "bridge" / "rate.py").write_text("PER_S = 50\n")
    (tmp_path / "builds").mkdir()
    monkeypatch.setattr(compiled, "PACKAGE", package)
    monkeypatch.setenv("TRUNKLINE_COMPILED", str(tmp_path / "builds"))
    monkeypatch.setattr("sys.meta_path", [])
    return package


def build(complete: bool = True) -> Path:
    where = compiled.folder()
    assert where is not None
    made = where / compiled.digest()
    made.mkdir()
    if complete:
        (made / "complete").touch()
    return made


def test_a_build_of_these_sources_is_taken(package: Path) -> None:
    made = build()
    assert compiled.install() == f"compiled ({made.name})"


def test_an_edited_source_is_never_shadowed(package: Path) -> None:
    build()
    (package / "bridge" / "rate.py").write_text("PER_S = 51\n")
    assert compiled.install().startswith("interpreted (no build of these sources")


@pytest.mark.parametrize("change", ["new", "gone", "moved"])
def test_nor_is_any_other_change_of_the_package(package: Path, change: str) -> None:
    build()
    rate = package / "bridge" / "rate.py"
    if change == "new":
        (package / "clock.py").touch()
    elif change == "gone":
        rate.unlink()
    else:
        rate.rename(package / "rate.py")
    assert compiled.install().startswith("interpreted")


def test_nor_by_a_build_for_another_python(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build()
    monkeypatch.setattr(compiled, "SUFFIX", ".cpython-399-x86_64-linux-gnu.so")
    assert compiled.install().startswith("interpreted")


def test_half_a_build_is_none(package: Path) -> None:
    build(complete=False)
    assert compiled.install().startswith("interpreted")


def test_no_folder_at_all(package: Path) -> None:
    shutil.rmtree(package.parent / "builds")
    assert compiled.install().startswith("interpreted (no build")


@pytest.mark.parametrize("word", [*OFF, "OFF"])
def test_switched_off(package: Path, monkeypatch: pytest.MonkeyPatch, word: str) -> None:
    build()
    monkeypatch.setenv("TRUNKLINE_COMPILED", word)
    assert compiled.install() == "interpreted (TRUNKLINE_COMPILED=off)"


def test_the_finder_knows_our_modules_and_nobody_elses(tmp_path: Path) -> None:
    finder = compiled.Finder(tmp_path)
    spec = finder.find_spec("trunkline.bridge.rate")
    assert spec is not None
    assert spec.origin == str(tmp_path / "trunkline" / "bridge" / ("rate" + compiled.SUFFIX))
    assert finder.find_spec("trunkline.service") is None
    assert finder.find_spec("bridge.rate") is None


@pytest.mark.parametrize("module", compiled.MODULES)
def test_nothing_is_compiled_that_means_something_else_then(module: str) -> None:
    """mypyc says no word of it, but hands a struct neither its annotations as written nor its options: each frame went
    the slow way. A Protocol loses what `isinstance` asks for. Asynchronous generators it refuses."""
    for node in ast.walk(ast.parse(compiled.source(module).read_text("utf-8"))):
        if isinstance(node, ast.ClassDef):
            bases = {ast.unparse(base) for base in node.bases}
            assert not bases & {"msgspec.Struct", "Struct"}, f"{module}: {node.name}"
            assert not any("runtime_checkable" in ast.unparse(one) for one in node.decorator_list), node.name
        if isinstance(node, ast.AsyncFunctionDef):
            assert not any(isinstance(inner, ast.Yield) for inner in ast.walk(node)), f"{module}: {node.name}"
