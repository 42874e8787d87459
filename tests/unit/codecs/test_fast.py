"""With audioop, with audioop-lts, and with neither: the same bits."""

import json
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.codecs import fast
from trunkline.errors import UsageError

PAIRS = [
    (fast.mulaw_encode, fast.mulaw_encode_numpy),
    (fast.alaw_encode, fast.alaw_encode_numpy),
    (fast.byteswap, fast.byteswap_numpy),
    (fast.rms, fast.rms_numpy),
    (fast.peak, fast.peak_numpy),
]

# Runs in an interpreter of its own: the choice is made when the module is imported.
WITHOUT = """
import importlib.abc, json, sys
class Refuse(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name == "audioop":
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Refuse())
from trunkline.codecs import fast
from trunkline.codecs.g711 import PCMA, PCMU
from trunkline.codecs.level import rms_dbov
from trunkline.codecs.resample import Resampler
pcm = bytes(range(256)) * 10
print(json.dumps({
    "audioop": fast.AUDIOOP is not None,
    "mulaw": PCMU.encoder().encode(pcm).hex(),
    "alaw": PCMA.decoder().decode(pcm).hex(),
    "level": rms_dbov(pcm),
    "resampled": Resampler(8000, 16000).push(pcm).hex(),
}))
"""


@given(st.binary(max_size=800).map(lambda data: data[: len(data) // 2 * 2]))
def test_native_and_numpy_functions_agree(pcm: bytes) -> None:
    for native, numpy in PAIRS:
        assert native(pcm) == numpy(pcm)


@pytest.mark.parametrize("function", [function for pair in PAIRS for function in pair])
def test_halves_of_samples_are_refused(function) -> None:
    with pytest.raises(UsageError, match="5 bytes are not whole"):
        function(bytes(5))


def test_an_absent_module_is_none() -> None:
    assert fast.load("audioop_that_is_not_there") is None


def test_everything_works_and_sounds_the_same_without_audioop() -> None:
    without = _run(WITHOUT)
    assert without.pop("audioop") is False
    present = _run(WITHOUT.replace('if name == "audioop"', "if False"))
    present.pop("audioop")
    assert without == present


def _run(script: str) -> dict[str, object]:
    done = subprocess.run([sys.executable, "-W", "error", "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
