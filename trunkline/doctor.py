"""`trunkline doctor`: what works on this machine, what to do about what does not, what to paste at the carrier."""

import asyncio
import os
import resource
import shutil
import socket
import tempfile
import time
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from trunkline import doctor_keys, doctor_public, doctor_sip, doctor_trunk
from trunkline.clock import SystemClock
from trunkline.config_load import Configuration, database_url, is_loopback, require_safe_bind
from trunkline.doctor_finding import Finding, Probe, Reach, Status
from trunkline.doctor_paste import paste, paste_sip
from trunkline.errors import ConfigError, TrunklineError

MARKS = {"ok": "[green]✓[/]", "warn": "[yellow]![/]", "fail": "[red]✗[/]"}
OLDEST_CLOCK = datetime(2025, 6, 1, tzinfo=UTC)  # earlier than this package: the clock is wrong
LEAST_DISK = 200 << 20  # bytes
TIMEOUT_S = 30.0


async def examine(
    configuration: Configuration, reach: Reach = Reach.PUBLIC, *, sip_alone: bool = False
) -> list[Finding]:
    """Look at everything, one after the other. A probe that breaks is a finding, not an end."""
    findings: list[Finding] = []
    for name, probe in sip_probes(reach) if sip_alone else probes(reach):
        findings += await _probe(name, probe, configuration)
    return findings


async def _probe(name: str, probe: Probe, configuration: Configuration) -> list[Finding]:
    try:
        async with asyncio.timeout(TIMEOUT_S):
            found = await probe(configuration)
    except TimeoutError:
        found = Finding(
            name, "fail", f"no answer within {TIMEOUT_S:g} s", "is the machine, or the network, overloaded?"
        )
    except Exception as broken:  # any fault of a part is what the doctor is there to tell
        found = Finding(name, "fail", f"{type(broken).__name__}: {broken}")
    return found if isinstance(found, list) else [found]


async def _port(configuration: Configuration) -> Finding:
    server = configuration.settings.server
    where = f"{server.host}:{server.port}"
    family = socket.AF_INET6 if ":" in server.host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((server.host, server.port))
        except OSError as wrong:
            if await doctor_public.at_home(configuration.settings):
                return Finding("port", "ok", f"{where}: a running Trunkline answers there")
            then = "stop what listens there, or choose another: --port, PORT"
            return Finding("port", "warn", f"{where} is taken or not ours ({wrong.strerror})", then)
    return Finding("port", "ok", f"{where} is free")


async def _data_dir(configuration: Configuration) -> Finding:
    folder = Path(configuration.settings.server.data_dir)
    try:
        await asyncio.to_thread(_write_in, folder)
    except OSError as wrong:
        return Finding(
            "data folder", "fail", f"{folder}: {wrong.strerror}", "choose a writable one: --data-dir, DATA_DIR"
        )
    free = shutil.disk_usage(folder).free
    if free < LEAST_DISK:
        return Finding("data folder", "warn", f"{folder}: only {free >> 20} MiB left", "make room for the database")
    return Finding("data folder", "ok", f"{folder} is writable, {free >> 30} GiB free")


def _write_in(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    probe = folder / f".probe-{os.getpid()}"
    probe.write_bytes(b"x")
    probe.unlink()


async def _database(configuration: Configuration) -> Finding:
    from trunkline.calls.store_sql import open_store

    url = database_url(configuration.settings)
    shown = url.rpartition("@")[2] if "@" in url else url
    try:
        async with open_store(url) as store:
            keys = [key for key in await store.keys() if key.revoked_at is None]
    except (TrunklineError, OSError) as wrong:
        return Finding("database", "fail", f"{shown}: {wrong}", "is the server up, and DATABASE_URL right?")
    return Finding("database", "ok", f"{shown} answers; {len(keys)} API keys")


async def _safety(configuration: Configuration) -> Finding:
    from trunkline.calls.store_sql import open_store

    async with open_store(database_url(configuration.settings)) as store:
        has_keys = any(key.revoked_at is None for key in await store.keys())
    try:
        require_safe_bind(configuration, has_keys=has_keys)
    except ConfigError as unsafe:
        return Finding("access", "fail", "other machines could use the API without a key", str(unsafe))
    if has_keys:
        return Finding("access", "ok", "the API asks for a key")
    if not is_loopback(configuration.settings.server.host):
        return Finding("access", "warn", "the API is open to everybody, as configured", "trunkline keys create")
    return Finding("access", "ok", "the API is open, but only to programs on this machine")


async def _files(configuration: Configuration) -> Finding:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = 4 * configuration.settings.limits.max_calls + 256
    if soft < needed:
        return Finding(
            "open files", "warn", f"{soft} allowed, {needed} wanted for limits.max_calls", f"ulimit -n {needed}"
        )
    return Finding("open files", "ok", f"{soft} allowed")


async def _temporary(configuration: Configuration) -> Finding:
    """aiofastnet writes a certificate there for each TLS connection: without it no call reaches Gemini."""
    try:
        folder = Path(tempfile.gettempdir())
        await asyncio.to_thread(_write_in, folder)
    except OSError as wrong:
        return Finding(
            "temporary folder",
            "fail",
            f"{wrong.strerror}: {wrong.filename or tempfile.tempdir}",
            "connections to Gemini need one that is writable: TMPDIR, or a tmpfs at /tmp",
        )
    return Finding("temporary folder", "ok", f"{folder} is writable")


async def _clock(configuration: Configuration) -> Finding:
    now = datetime.now(UTC)
    if now < OLDEST_CLOCK:
        return Finding(
            "clock", "fail", f"it says {now:%Y-%m-%d}", "set it: webhooks, tickets and TLS need a right clock"
        )
    before, began = time.monotonic(), time.time()
    await asyncio.sleep(0.2)
    drift = abs((time.time() - began) - (time.monotonic() - before))
    if drift > 0.05:
        return Finding("clock", "warn", f"it moved {drift:.2f} s by itself in 0.2 s", "is it being set right now?")
    return Finding("clock", "ok", f"{now:%Y-%m-%d %H:%M:%S} UTC")


async def _voice(configuration: Configuration) -> Finding:
    from trunkline.ai.offline.voice import synthesise

    name = configuration.settings.ai.offline.voice
    began = time.perf_counter()
    try:
        pcm, rate = await asyncio.to_thread(synthesise, "Good morning.", name)
    except (TrunklineError, OSError) as wrong:
        return Finding("voice", "fail", str(wrong), "apt-get install libflite1")
    if not any(pcm):
        return Finding("voice", "fail", f"voice {name} makes no sound", 'try [ai.offline] voice = "rms"')
    took = 1000 * (time.perf_counter() - began)
    return Finding("voice", "ok", f"{name} speaks ({len(pcm) / 2 / rate:.1f} s of speech in {took:.0f} ms)")


async def _agent(configuration: Configuration) -> Finding:
    from trunkline.service_minds import choose_minds

    began = time.perf_counter()
    minds = choose_minds(configuration.settings, SystemClock())
    try:
        await minds.start()
        return Finding("agent", "ok", f"starts in {time.perf_counter() - began:.1f} s: {minds.told()}")
    finally:
        await minds.close()


async def _compared_clock(configuration: Configuration, *, online: bool) -> Finding:
    """By itself, then beside another's."""
    alone = await _clock(configuration)
    if alone.status != "ok":
        return alone
    if (compared := await doctor_public.clock(configuration, online=online)) is not None:
        return compared
    status: Status = "warn" if configuration.settings.server.public_url else "ok"
    text = f"{alone.text}; whether it is right is unknown: nobody to compare it with was seen"
    then = "is there a way out?" if online else "trunkline doctor --online compares it with other machines' clocks"
    return Finding("clock", status, text, then)


async def _keys(configuration: Configuration, *, online: bool) -> list[Finding]:
    settings = configuration.settings
    given = {"TWILIO_AUTH_TOKEN": settings.carriers.twilio.auth_token}
    return await doctor_keys.keys(os.environ, online=online, given=given, vendors=doctor_keys.vendors_of(settings))


LOCAL: tuple[tuple[str, Probe], ...] = (
    ("port", _port),
    ("data folder", _data_dir),
    ("database", _database),
    ("access", _safety),
    ("open files", _files),
    ("temporary folder", _temporary),
    ("voice", _voice),
    ("agent", _agent),
    ("TLS files", doctor_public.own_certificate),
    ("way in", doctor_public.configured),
    (doctor_sip.PART, doctor_sip.here),
)


def sip_probes(reach: Reach) -> tuple[tuple[str, Probe], ...]:
    """Those of `trunkline doctor sip`."""
    local: tuple[tuple[str, Probe], ...] = ((doctor_sip.PART, doctor_sip.here),)
    return local if reach is Reach.LOCAL else (*local, ("trunks", doctor_trunk.trunks))


def probes(reach: Reach) -> tuple[tuple[str, Probe], ...]:
    """What is looked at, in order."""
    online = reach is Reach.ONLINE
    keys: tuple[str, Probe] = ("keys", partial(_keys, online=online))
    if reach is Reach.LOCAL:
        return (*LOCAL, ("clock", _clock), keys)
    compared: tuple[str, Probe] = ("clock", partial(_compared_clock, online=online))
    return (*LOCAL, ("trunks", doctor_trunk.trunks), ("way in", doctor_public.from_outside), compared, keys)


def report(
    findings: list[Finding],
    configuration: Configuration,
    console: Console,
    *,
    show_secrets: bool,
    sip_alone: bool = False,
) -> int:
    """Print it all; returns the exit code: 1 when something failed."""
    for finding in findings:
        console.print(f"{MARKS[finding.status]} [bold]{finding.part:<12}[/] {escape(finding.text)}", soft_wrap=True)
        if finding.then and finding.status != "ok":
            console.print(f"    [dim]→[/] {escape(finding.then)}", soft_wrap=True)
    console.print()
    settings = configuration.settings
    for line in paste_sip(settings) if sip_alone else paste(settings, show_secrets=show_secrets):
        console.print(escape(line), soft_wrap=True, highlight=False)
    failed = sum(finding.status == "fail" for finding in findings)
    console.print(f"\n[red]{failed} to repair[/]" if failed else "\n[green]ready[/]: trunkline serve")
    return 1 if failed else 0
