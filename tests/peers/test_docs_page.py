"""The API's page in a real browser: drawn, complete, and asking nobody else for anything."""

import asyncio
import shutil
from pathlib import Path

import pytest

from tests.wire.service import running
from trunkline.api import TABLE

pytestmark = pytest.mark.peers


async def test_chromium_draws_every_operation(tmp_path: Path) -> None:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("chromium is not installed")
    async with running(tmp_path) as run:
        process = await asyncio.create_subprocess_exec(
            chromium, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}",
            "--virtual-time-budget=8000", "--dump-dom", run.url + "/docs",
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        page, _ = await asyncio.wait_for(process.communicate(), 60)
    dom = page.decode()
    assert dom.count('class="opblock ') == len(TABLE)
    assert "Unable to render" not in dom
    for row in TABLE:
        assert row.summary.replace("'", "&#39;") in dom or row.summary in dom, row.path
