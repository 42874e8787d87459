"""`trunkline sim pstn`: a telephone network at a terminal, for trunks and for campaigns to be tried on."""

import asyncio
import resource
import signal
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path
from typing import Annotated, TextIO

import typer
from rich.console import Console
from rich.table import Table

from trunkline_sim.errors import SimError
from trunkline_sim.pstn import ANY, MOST_CALLS, Pstn
from trunkline_sim.pstn_account import Account
from trunkline_sim.pstn_people import People, default_people, load_people

FILES = 65_536  # descriptors: a call that is talked in takes one


def pstn_command(
    listen: Annotated[str, typer.Option(help="HOST:PORT, UDP and TCP; port 0: any free one.")] = "127.0.0.1:5070",
    people: Annotated[
        Path | None, typer.Option(help="TOML of who answers where; else the last four digits say.")
    ] = None,
    account: Annotated[Path | None, typer.Option(help="Append two lines of JSON per call to this file.")] = None,
    recordings: Annotated[Path | None, typer.Option(help="Folder for what people with `record` heard.")] = None,
    user: Annotated[
        list[str] | None, typer.Option(help="NAME:PASSWORD of who may call and register; else all.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="Of who answers and how long it rings; else the file's, or 0.")
    ] = None,
    calls: Annotated[int, typer.Option(min=1, help="Calls at once; beyond them 503.")] = MOST_CALLS,
    cps: Annotated[float, typer.Option(min=0, help="New calls a second; beyond them 503; 0: any number.")] = 0.0,
) -> None:
    """A telephone network that is called over SIP: people, machines, busy lines, failures; docs/simulators.md."""
    console = Console(width=None if Console().is_terminal else 120)
    try:
        asyncio.run(_serve(listen, people, account, recordings, user or [], seed, calls, cps, console))
    except SimError as wrong:
        Console(stderr=True).print(str(wrong), style="red", markup=False, highlight=False)
        raise typer.Exit(1) from wrong


async def _serve(
    listen: str,
    people: Path | None,
    account: Path | None,
    recordings: Path | None,
    users: list[str],
    seed: int | None,
    calls: int,
    cps: float,
    console: Console,
) -> None:
    host, port = _place(listen)
    who = default_people(seed or 0) if people is None else load_people(people, seed)
    _allow_files()
    if recordings is not None:
        await asyncio.to_thread(_made, recordings)
    with _opened(account) as out:
        network = Pstn(who, Account(out), users=_users(users), recordings=recordings, most_calls=calls, most_per_s=cps)
        await network.open(host, port)
        async with network:
            _greet(network, who, people, console)
            await _until_told()
        _told(network, console)


def _place(listen: str) -> tuple[str, int]:
    host, _, port = listen.rpartition(":")
    if not host or ":" in host or not port.isdecimal() or int(port) > 65_535:
        raise SimError(f"--listen {listen}: must be HOST:PORT, IPv4, a port from 0 (any free one) to 65535")
    return host, int(port)


def _users(pairs: list[str]) -> dict[str, str]:
    if wrong := [pair for pair in pairs if ":" not in pair.strip(":")]:
        raise SimError(f"--user {wrong[0]}: must be NAME:PASSWORD")
    return {name: word for name, _, word in (pair.partition(":") for pair in pairs)}


def _opened(account: Path | None) -> AbstractContextManager[TextIO | None]:
    if account is None:
        return nullcontext()
    try:
        account.parent.mkdir(parents=True, exist_ok=True)
        return account.open("a", encoding="utf-8")
    except OSError as wrong:
        raise SimError(f"--account {account}: {wrong.strerror or wrong}") from wrong


def _made(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as wrong:
        raise SimError(f"--recordings {folder}: {wrong.strerror or wrong}") from wrong


def _greet(network: Pstn, who: People, people: Path | None, console: Console) -> None:
    console.print(f"telephone network at {network.host}:{network.port} (udp, tcp)", highlight=False)
    console.print(f"  {people}: {len(who.cast)} entries" if people else "  who answers:", highlight=False)
    if people is None:
        console.print("  " + ", ".join(f"{cast.person.number} {cast.name}" for cast in who.cast), highlight=False)
    near = "127.0.0.1" if network.host == ANY else network.host
    console.print(f'  in config.toml: [[sip.trunk]] name = "pstn", host = "{near}:{network.port}"', markup=False)


def _told(network: Pstn, console: Console) -> None:
    table = Table("person: answer", "calls")
    for name, count in sorted(network.account.counts.items()):
        table.add_row(name, str(count))
    for name, count in sorted(network.counts.items()):
        table.add_row(name, str(count))
    console.print(table)
    console.print(f"at most {network.peak} at once", highlight=False)


async def _until_told() -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await stop.wait()


def _allow_files() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FILES if hard == resource.RLIM_INFINITY else min(FILES, hard)
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
