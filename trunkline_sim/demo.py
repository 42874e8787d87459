"""The demonstration: one call, placed by itself against a service that has just started."""

import asyncio
from importlib.resources import files
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from trunkline_sim.account import Account
from trunkline_sim.cli import Key, Url, finish, terminal
from trunkline_sim.errors import SimError
from trunkline_sim.phone import DEFAULT_URL, Plan, place
from trunkline_sim.script import parse
from trunkline_sim.show import shown
from trunkline_sim.voices import VOICES, Voices

FOLDER = Path("data/demo")


async def demo(
    url: str = DEFAULT_URL, out: Path = FOLDER, *, key: str = "", console: Console | None = None
) -> Account | None:
    """Place the demonstration call, shown live; its files lie in `out`. None, with a word of why, if it cannot be."""
    console = console or terminal()
    script = parse(files("trunkline_sim").joinpath("demo.call").read_text("utf-8"), "demo.call")
    try:
        with shown(console, "A demonstration call: nobody has to type anything") as audience:
            account = await place(Plan(script, url, _voice(script.voice), key=key), Voices(), audience)
    except SimError as wrong:
        console.print(f"[yellow]No demonstration call: {escape(str(wrong))}[/]", highlight=False)
        return None
    finish(account, out, console)
    return account


def _voice(preferred: str) -> str:
    """The preferred voice, or one that is installed."""
    return next((name for name in (preferred, *VOICES) if VOICES[name].installed), preferred)


def main(
    to: Url = DEFAULT_URL,
    out: Annotated[Path, typer.Option(help="Folder for the WAV, the picture, the transcript.")] = FOLDER,
    key: Key = "",
) -> None:
    """Place the demonstration call: `python -m trunkline_sim.demo`."""
    account = asyncio.run(demo(to, out, key=key))
    raise typer.Exit(0 if account is not None and account.good else 1)


if __name__ == "__main__":
    typer.run(main)
