"""What the SDK builds at its first use is built when the provider starts, and not while the first caller waits."""

import subprocess
import sys

PROBE = """
import asyncio
from google.genai import types
from trunkline.ai.gemini.provider import GeminiProvider
from trunkline.clock import SystemClock
from trunkline.config import Gemini

def built():
    used = types.LiveConnectConfig, types.LiveConnectParameters, types.LiveServerMessage, types.LiveClientToolResponse
    return [one.__pydantic_complete__ for one in used]

provider = GeminiProvider(Gemini(), {"GEMINI_API_KEY": "any"}, SystemClock())
before = built()
asyncio.run(provider.start())
print(any(before), all(built()))
"""


def test_a_provider_that_has_started_has_built_what_its_first_call_needs() -> None:
    """In a process of its own: this one has long built it."""
    done = subprocess.run([sys.executable, "-c", PROBE], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True"]
