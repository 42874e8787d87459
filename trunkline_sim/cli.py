"""`trunkline call` and `trunkline sim`: the phone network in a box, at a terminal."""

import asyncio
import os
import tempfile
import time
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from rich.console import Console
from rich.table import Table

from trunkline_sim import picture, report, webhooks
from trunkline_sim.account import Account
from trunkline_sim.cli_pstn import pstn_command
from trunkline_sim.errors import SimError
from trunkline_sim.load import Load, LoadReport, run_load
from trunkline_sim.phone import DEFAULT_URL, DEFAULT_URLS, Network, Plan, place, some_number
from trunkline_sim.script import Script, load
from trunkline_sim.show import shown
from trunkline_sim.voices import VOICES, Voices, known_voice, recordings
from trunkline_sim.wire import CallFacts

T = TypeVar("T")
call_app = typer.Typer(add_completion=False)
sim_app = typer.Typer(add_completion=False, no_args_is_help=True, help="The phone network in a box.")

Url = Annotated[str, typer.Option("--to", help="The service's media socket, ws:// or wss://.")]
Key = Annotated[str, typer.Option(help="API key, to follow the call on /events.", envvar="TRUNKLINE_KEY")]
AuthToken = Annotated[str, typer.Option(help="Twilio signs with it.", envvar="TWILIO_AUTH_TOKEN")]
EXAMPLE = Path("examples/order.call")


def call_command(
    to: str = "",
    script: Path = EXAMPLE,
    *,
    voice: str = "",
    out: Path | None = None,
    key: str = "",
    api: str = "",
    carrier: dict[str, str] | None = None,
    parameters: dict[str, str] | None = None,
    seed: int = 0,
    network: Network = "smartflo",
    auth_token: str = "",
    webhook: str = "",
    user: str = "",
    console: Console | None = None,
) -> int:
    """Place one scripted call and keep what is left of it in `out`. 0: all expectations were met, else 1."""
    console = console or terminal()
    try:
        to = to or DEFAULT_URLS[network]
        if voice:
            known_voice(voice)
        given = _credentials(user)
        plan = Plan(load(script), to, voice, carrier, parameters, api, key, seed, network, auth_token, webhook, given)
        with _kept_in(out or _folder(plan.script)) as folder:
            account = asyncio.run(_call(plan, console))
            return finish(account, folder, console)
    except SimError as wrong:
        console.print(str(wrong), style="red", markup=False, highlight=False)
        return 1


def _credentials(user: str) -> tuple[str, str] | None:
    name, colon, word = user.partition(":")
    if user and not (name and colon):
        raise SimError("--user: must be NAME:PASSWORD")
    return (name, word) if user else None


@contextmanager
def _kept_in(folder: Path) -> Iterator[Path]:
    """The folder of a call's files, writable before the call is placed; gone again when nothing came of it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as wrong:
        raise SimError(f"--out {folder}: cannot be written: {wrong.strerror or wrong}") from wrong
    try:
        yield folder
    finally:
        if not any(folder.iterdir()):
            folder.rmdir()


def terminal() -> Console:
    """A console; where nobody sits in front of it, with room for long lines."""
    console = Console()
    return console if console.is_terminal else Console(width=120)


def finish(account: Account, out: Path, console: Console) -> int:
    """Write the call's files, tell what it was like; the exit code."""
    files = report.keep(account, out)
    files.append(picture.save(account, out))
    console.print(report.transcript(account), markup=False, highlight=False, soft_wrap=True, end="")
    report.tell(account, console, files)
    return 0 if account.good else 1


async def _call(plan: Plan, console: Console) -> Account:
    with shown(console, plan.script.title or plan.script.name) as audience:
        return await place(plan, Voices(), audience)


def _folder(script: Script) -> Path:
    return Path(os.environ.get("DATA_DIR") or "data") / "calls" / f"{time.strftime('%Y%m%d-%H%M%S')}-{script.name}"


@call_app.command()
def call(
    to: Annotated[
        str,
        typer.Option(help="Media socket; for Twilio /answer/twilio; audiosocket://HOST:PORT; sip:USER@HOST[:PORT]."),
    ] = "",
    script: Annotated[Path, typer.Option(help="What the caller does: see docs/simulators.md.")] = EXAMPLE,
    voice: Annotated[str, typer.Option(help=f"The caller's voice: {', '.join(VOICES)}.")] = "",
    out: Annotated[Path | None, typer.Option(help="Folder for the WAV, the picture, the transcript.")] = None,
    key: Key = "",
    api: Annotated[str, typer.Option(help="The service's HTTP address, where it is not that of --to.")] = "",
    clear: Annotated[
        str | None, typer.Option(help="What the carrier makes of `clear`: honoured, late, ignored.")
    ] = None,
    loss: Annotated[float | None, typer.Option(help="% of media messages lost.")] = None,
    jitter: Annotated[float | None, typer.Option(help="Media messages up to so many ms late.")] = None,
    message_ms: Annotated[int | None, typer.Option(help="Audio in one media message: 20, 40, 60 or 100 ms.")] = None,
    fault: Annotated[
        list[str] | None, typer.Option(help="Any other carrier setting, NAME=VALUE: reset_at_s=3, no_stop=yes, …")
    ] = None,
    param: Annotated[
        list[str] | None,
        typer.Option(help="Custom parameter of `start`, NAME=VALUE; SIP: header X-…; Asterisk: uuid=…"),
    ] = None,
    carrier: Annotated[
        Network, typer.Option(help="Whose line it is: smartflo, twilio, audiosocket (an Asterisk), or sip.")
    ] = "smartflo",
    auth_token: AuthToken = "",
    user: Annotated[
        str, typer.Option(help="NAME:PASSWORD, for a SIP service that asks.", envvar="TRUNKLINE_SIP_USER")
    ] = "",
    seed: Annotated[int, typer.Option(help="Of the carrier's dice.")] = 0,
) -> None:
    """Play a carrier and a caller against a running service; see the call, keep its WAV, transcript and picture."""
    given = {"clear": clear, "loss": loss, "jitter_ms": jitter, "message_ms": message_ms}
    settings = {name: str(value) for name, value in given.items() if value is not None}
    settings |= _pairs(fault or [], "--fault")
    raise typer.Exit(
        call_command(
            to, script, voice=voice, out=out, key=key, api=api, carrier=settings,
            parameters=_pairs(param or [], "--param"), seed=seed, network=carrier, auth_token=auth_token, user=user,
        )
    )  # fmt: skip


def _pairs(texts: list[str], option: str) -> dict[str, str]:
    wrong = [text for text in texts if "=" not in text]
    if wrong:
        raise typer.BadParameter(f"{option} wants NAME=VALUE, not {wrong[0]!r}")
    return {name.strip(): value.strip() for name, _, value in (text.partition("=") for text in texts)}


@sim_app.command("voices")
def voices_command(
    recorded: Annotated[bool, typer.Option("--recordings", help="List the recordings of real speech instead.")] = False,
) -> None:
    """Callers' voices, and whether they are installed."""
    console = terminal()
    if recorded:
        console.print("\n".join(f"asterisk:{name}" for name in recordings()), highlight=False)
        return
    table = Table("voice", "what it is", "installed", "Debian package")
    for voice in VOICES.values():
        table.add_row(voice.name, voice.about, "yes" if voice.installed else "no", voice.package)
    console.print(table)


@sim_app.command()
def say(
    text: Annotated[str, typer.Argument(help="A sentence, or asterisk:NAME.")],
    out: Annotated[Path, typer.Argument(help="WAV file to write.")],
    voice: Annotated[str, typer.Option(help=f"One of {', '.join(VOICES)}.")] = "kal16",
) -> None:
    """Write what a caller would say as a WAV file: 8 kHz, mu-law quality, left channel."""

    def make() -> bytes:
        return Voices().recording(text) if text.startswith("asterisk:") else Voices().say(text, voice)

    payload = _guarded(make)
    out.write_bytes(report.stereo(payload, b""))
    Console().print(f"{out}: {len(payload) / 8000:.2f} s", highlight=False)


@sim_app.command()
def smartflo(
    endpoint: Annotated[str, typer.Option(help="Dynamic endpoint, http(s)://…: asked first, for its wss_url.")] = "",
    webhook: Annotated[str, typer.Option(help="Told of the hang-up afterwards.")] = "",
    shape: Annotated[webhooks.Body, typer.Option(help="How the operator set both up.")] = "json",
    to: Url = DEFAULT_URL,
    script: Annotated[Path, typer.Option(help="What the caller does.")] = EXAMPLE,
    key: Key = "",
) -> None:
    """A whole Smartflo call: ask the dynamic endpoint, open the socket, play the script, send the hang-up webhook."""
    console = terminal()
    if endpoint:
        facts = CallFacts(from_=some_number())
        to = _guarded(lambda: _run(webhooks.ask_endpoint(endpoint, facts, shape)))
        console.print(f"{endpoint} says: {to}", highlight=False)
    code = call_command(to, script, key=key, console=console)
    if webhook:
        body = webhooks.fill(webhooks.HANGUP, webhooks.call_values(CallFacts(from_=some_number())))
        status = _guarded(lambda: _run(webhooks.notify(webhook, body, shape)))
        console.print(f"webhook {webhook}: {status}", highlight=False)
    raise typer.Exit(code)


@sim_app.command("twilio")
def twilio_command(
    to: Annotated[str, typer.Option(help="What the number's *A call comes in* says.")] = DEFAULT_URLS["twilio"],
    webhook: Annotated[str, typer.Option(help="What its *Call status changes* says: told when the call is over.")] = "",
    auth_token: AuthToken = "",
    script: Annotated[Path, typer.Option(help="What the caller does.")] = EXAMPLE,
    key: Key = "",
) -> None:
    """A whole Twilio call: ask for TwiML, open the stream it names, play the script, send the callbacks; all signed."""
    raise typer.Exit(call_command(to, script, key=key, network="twilio", auth_token=auth_token, webhook=webhook))


@sim_app.command("load")
def load_command(
    to: Url = DEFAULT_URL,
    calls: Annotated[int, typer.Option(min=1, help="How many calls; at once, or in all with --rate.")] = 50,
    seconds: Annotated[
        float, typer.Option(min=0.1, help="Length of each call; with --rate a random half to whole of it.")
    ] = 20,
    rate: Annotated[float, typer.Option(min=0, help="New calls per second; 0: all at once.")] = 0.0,
    abandon: Annotated[bool, typer.Option(help="Leave at a random moment, in a random way.")] = False,
    echo: Annotated[
        bool, typer.Option(help="Measure the way there and back (the service runs the echo profile).")
    ] = True,
    message_ms: Annotated[int, typer.Option(min=20, max=100, help="Audio in one message: 20 or 100 ms.")] = 100,
    seed: Annotated[int, typer.Option(help="Of the dice.")] = 0,
) -> None:
    """Many calls: how many a service carries, how it sounds, and whether it survives being left alone."""
    plan = Load(to, calls, seconds, rate, abandon, echo, message_ms, seed)
    told: LoadReport = _guarded(lambda: _run(run_load(plan)))
    terminal().print(told.table())
    raise typer.Exit(0 if told.good else 1)


@sim_app.command("gemini")
def gemini_command(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port; 0: any free one.")] = 8443,
    scenario: Annotated[str, typer.Option(help="Settings of the default scenario: speedup=8,mode=bench,…")] = "",
    scenarios: Annotated[Path | None, typer.Option(help='JSON of more, {"name": {…}}: https://host/NAME.')] = None,
    callers: Annotated[Path | None, typer.Option(help="What is understood, a sentence a line; else anything.")] = None,
    voice: Annotated[str, typer.Option(help=f"The callers' voice: {', '.join(VOICES)}.")] = "kal16",
    certificates: Annotated[Path, typer.Option(help="Folder for the test authority.")] = Path("data/sim-gemini"),
) -> None:
    """Serve Gemini Live in a box over TLS: docs/simulators.md."""
    from trunkline_sim import gemini_serve  # beside the load generator this takes a third of the start

    def work() -> None:
        understood = (gemini_serve.sentences_of(callers), voice)
        more = gemini_serve.scenarios_of(scenarios)
        gemini_serve.run(gemini_serve.serve((host, port), scenario, more, understood, certificates, terminal()))

    _guarded(work)


sim_app.command("pstn")(pstn_command)


def _run(work: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(work)


def _guarded(make: Any) -> Any:
    try:
        return make()
    except SimError as wrong:
        Console(stderr=True).print(str(wrong), style="red", markup=False, highlight=False)
        raise typer.Exit(1) from wrong


def main() -> None:
    """`python -m trunkline_sim.cli`: the same as `trunkline sim`."""
    sim_app(prog_name="trunkline sim")


if __name__ == "__main__":
    os.environ.setdefault("COLUMNS", "120")
    main()
