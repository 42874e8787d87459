"""Ctrl-C in the first second: a word, 130, no traceback."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.wire
ROOT = Path(__file__).parents[2]
LATE = {"call": "trunkline_sim.picture", "serve": "trunkline.cli_serve"}


@pytest.mark.parametrize("command", ["call", "serve"])
def test_ctrl_c_at_any_moment_is_no_traceback(command: str, tmp_path: Path) -> None:
    """Planted where the interpreter reads it first: SIGINT at the import of a module that the command needs late."""
    (tmp_path / "sitecustomize.py").write_text(
        "import os, signal, sys\n"
        "class Hook:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name == {LATE[command]!r}:\n"
        "            os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.meta_path.insert(0, Hook())\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "trunkline", command], cwd=tmp_path, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background job ignores it
        timeout=120,
    )  # fmt: skip
    assert (done.returncode, done.stderr.strip()) == (130, "interrupted")
