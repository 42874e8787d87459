"""baresip as a telephone: what it says and what it hears are WAV files, its keys a control socket on loopback."""

import asyncio
import json
import shutil
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.interop.sound import silence
from tests.peers.sip.rig import PATIENCE_S, free_port

MODULES = (
    *("g711.so", "g722.so", "aufile.so", "sndfile.so", "srtp.so"),
    *("account.so", "menu.so", "ctrl_tcp.so"),
)


@dataclass(slots=True)
class Baresip:
    """One that runs, with one account."""

    folder: Path
    port: int
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    told: list[dict[str, Any]] = field(default_factory=list)
    news: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def heard(self) -> Path:
        """WAV of what it heard, of the last call."""
        return max(self.folder.glob("dump-*-dec.wav"))

    async def does(self, command: str, params: str = "") -> None:
        """A command of its menu."""
        text = json.dumps({"command": command, "params": params})
        self.writer.write(f"{len(text.encode())}:{text},".encode())
        await self.writer.drain()

    async def says(self, wav: Path) -> None:
        """From now on, from the file's beginning (mono, 8000 Hz)."""
        await self.does("ausrc", f"aufile,{wav}")

    async def until(self, kind: str, count: int = 1) -> dict[str, Any]:
        """The event of that type, once it has come so often."""
        async with asyncio.timeout(PATIENCE_S):
            while len(found := [one for one in self.told if one.get("type") == kind]) < count:
                self.news.clear()
                await self.news.wait()
        return found[count - 1]

    async def registered(self) -> None:
        """Once its registrar has said yes, which may be before anybody can be told of it."""
        async with asyncio.timeout(PATIENCE_S):
            while "200 OK" not in (self.folder / "baresip.log").read_text(errors="replace"):  # noqa: ASYNC110
                await asyncio.sleep(0.5)

    async def listen(self) -> None:
        """Keep its events, netstrings of JSON, until it closes."""
        with suppress(asyncio.IncompleteReadError):
            while size := await self.reader.readuntil(b":"):
                body = await self.reader.readexactly(int(size[:-1]) + 1)
                self.told.append(json.loads(body[:-1]))
                self.news.set()


def free_tcp_port() -> int:
    """For a listener on loopback."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def _config(folder: Path, port: int, control: int) -> str:
    lines = [
        f"sip_listen 127.0.0.1:{port}",
        "net_interface 127.0.0.1",
        "module_path /usr/lib/baresip/modules",
        *(f"{'module_app' if name in MODULES[-2:] else 'module'} {name}" for name in MODULES),
        f"audio_source aufile,{folder / 'silence.wav'}",
        f"snd_path {folder}",
        "audio_alert aufile,/dev/null",
        *("ausrc_srate 8000", "auplay_srate 8000", "ausrc_channels 1", "auplay_channels 1"),
        *("ausrc_format s16", "auplay_format s16", "auenc_format s16", "audec_format s16"),
        *("audio_buffer 20-160", "jitter_buffer_delay 1-5", "rtp_stats no"),
        f"ctrl_tcp_listen 127.0.0.1:{control}",
    ]
    return "\n".join(lines) + "\n"


def _prepare(folder: Path, account: str, config: str) -> None:
    folder.mkdir(exist_ok=True)
    silence(folder / "silence.wav", 120)
    (folder / "config").write_text(config)
    (folder / "accounts").write_text(account + "\n")
    (folder / "contacts").touch()


@asynccontextmanager
async def baresip(folder: Path, account: str = "<sip:caller@127.0.0.1>;regint=0") -> AsyncIterator[Baresip]:
    """Its log is in `folder`/baresip.log. It says nothing until it is told what."""
    if shutil.which("baresip") is None or shutil.which("flite") is None:
        pytest.skip("baresip or flite is not installed (Debian packages: baresip-core, flite)")
    port, control = free_port(), free_tcp_port()
    _prepare(folder, account, _config(folder, port, control))
    with (folder / "baresip.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            "baresip", "-f", str(folder), stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log
        )
        try:
            phone = Baresip(folder, port, *await _connected(control))
            listening = asyncio.create_task(phone.listen())
            yield phone
            listening.cancel()
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()


async def _connected(control: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    async with asyncio.timeout(PATIENCE_S):
        while True:
            try:
                return await asyncio.open_connection("127.0.0.1", control)
            except OSError:
                await asyncio.sleep(0.2)
