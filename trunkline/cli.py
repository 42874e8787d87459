"""The command line: `trunkline serve | check | call | sim | doctor | route-test | keys`.

Exit codes: 0 fine, 1 it did not work, 2 it was asked wrongly. Errors say what to do next, on standard error.
"""

import asyncio
import os
import sys
from collections.abc import Sequence
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from trunkline import __version__
from trunkline.cli_interrupt import INTERRUPTED, at_once
from trunkline.cli_options import SETTINGS, STORE, Options, takes
from trunkline.config_load import Configuration
from trunkline.errors import ConfigError, TrunklineError
from trunkline.log import set_up

app = typer.Typer(
    name="trunkline",
    help="AI voice agents on real phone lines.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
keys_app = typer.Typer(help="API keys: who may use the HTTP API.", no_args_is_help=True)
app.add_typer(keys_app, name="keys")
PASSED_ON = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}


def run(arguments: Sequence[str]) -> int:
    """Run one command; returns its exit code. Nothing a user can do ends in a traceback."""
    set_up("warning")  # until a command knows better
    try:
        typer.main.get_command(app).main(args=list(arguments), prog_name="trunkline")
    except SystemExit as left:
        return left.code if isinstance(left.code, int) else 1
    except ConfigError as wrong:
        return _complain(wrong, 2)
    except (TrunklineError, OSError) as wrong:
        return _complain(wrong, 1)
    except KeyboardInterrupt:
        Console(stderr=True).print("interrupted")
        return INTERRUPTED
    return 0


def _complain(wrong: BaseException, code: int) -> int:
    Console(stderr=True).print(f"[bold red]error:[/] {escape(str(wrong))}", soft_wrap=True)
    return code


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"trunkline {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """AI voice agents on real phone lines."""


@app.command()
@takes(*SETTINGS[:-1], "log_level", "more", "workers", "log_file")
def serve(
    options: Options,
    create_key: Annotated[
        bool, typer.Option("--create-key", help="Make an admin key if there is none, and print it once.")
    ] = False,
) -> None:
    """Run the service: carriers' media sockets, the HTTP API, the agents."""
    with at_once():
        from trunkline.cli_serve import serve as run_service

    def read() -> Configuration:
        return options.configuration(os.environ)

    raise typer.Exit(run_service(read(), create_key=create_key, reread=read))


@app.command(hidden=True)
def worker(link: Annotated[int, typer.Option(help="Descriptor of the supervisor's link.")]) -> None:
    """One worker; started by `trunkline serve`."""
    from trunkline.cli_worker import work

    raise typer.Exit(work(link))


@app.command(hidden=True)
def gateway(link: Annotated[int, typer.Option(help="Descriptor of the supervisor's link.")]) -> None:
    """The SIP gateway; started by `trunkline serve`."""
    from trunkline.cli_gateway import serve_sip

    raise typer.Exit(serve_sip(link))


@app.command()
@takes(*SETTINGS)
def check(
    options: Options,
    every: Annotated[bool, typer.Option("--all", help="Also show what is at its default.")] = False,
) -> None:
    """Read the configuration, say what is in force and why. Secrets are masked."""
    from trunkline.cli_check import show

    show(options.configuration(os.environ), every=every, console=Console())


@app.command()
@takes(*SETTINGS)
def doctor(
    options: Options,
    part: Annotated[str, typer.Argument(help="sip: the wheel, ports, address and trunks alone.")] = "",
    show_secrets: Annotated[
        bool, typer.Option("--show-secrets", help="Print the secret token in what is to be pasted.")
    ] = False,
    online: Annotated[bool, typer.Option("--online", help="Show the keys to their vendors: are they good?")] = False,
    local: Annotated[bool, typer.Option("--local", help="Ask nobody on the network: this machine alone.")] = False,
) -> None:
    """Look at this machine and its way in: what works, what does not, what to do, what to paste where."""
    from trunkline.doctor import examine, report
    from trunkline.doctor_finding import Reach

    if part not in ("", "sip"):
        raise ConfigError(f"doctor {part}: there is only doctor, for everything, and doctor sip")
    configuration = options.configuration(os.environ)
    reach = Reach.LOCAL if local else Reach.ONLINE if online else Reach.PUBLIC
    findings = asyncio.run(examine(configuration, reach, sip_alone=part == "sip"))
    code = report(findings, configuration, Console(), show_secrets=show_secrets, sip_alone=part == "sip")
    raise typer.Exit(code)


@app.command("route-test")
@takes("config", "more")
def route_test(
    options: Options,
    number: Annotated[str, typer.Argument(help="Number that is called, or the whole address: sip:NUMBER@HOST.")],
    to: Annotated[str, typer.Option(help="User of To, where it is another.")] = "",
    from_: Annotated[str, typer.Option("--from", help="Who calls.")] = "",
    trunk: Annotated[str, typer.Option(help="Name of the sip.trunk it comes through.")] = "",
    source: Annotated[str, typer.Option(help="Address it comes from: would it be heard, and as whose?")] = "",
    header: Annotated[list[str] | None, typer.Option(help="A header of the INVITE, X-NAME=VALUE.")] = None,
    carrier: Annotated[str, typer.Option(help="sip, or another carrier's name.")] = "sip",
) -> None:
    """Which agent would answer this INVITE, and why."""
    from trunkline.cli_route import Invite, headers_of, show

    invite = Invite(number, to, from_, trunk, source, headers_of(header or ()), carrier)
    raise typer.Exit(show(invite, options.configuration(os.environ).settings, Console()))


@app.command(context_settings=PASSED_ON, add_help_option=False)
def call(context: typer.Context) -> None:
    """Play a carrier and a caller against a running service; see the call, keep its WAV and picture."""
    _simulator("call", context.args)


@app.command(context_settings=PASSED_ON, add_help_option=False)
def sim(context: typer.Context) -> None:
    """The phone network in a box: simulated carriers and callers."""
    _simulator("sim", context.args)


def _simulator(name: str, arguments: list[str]) -> None:
    with at_once():
        from trunkline_sim import cli as simulator

    chosen = {"call": simulator.call_app, "sim": simulator.sim_app}[name]
    typer.main.get_command(chosen).main(args=arguments, prog_name=f"trunkline {name}")


@keys_app.command("create")
@takes(*STORE)
def keys_create(
    options: Options,
    kind: Annotated[str, typer.Option(help="prod, test (never reaches a real carrier) or admin.")] = "prod",
    scope: Annotated[list[str] | None, typer.Option(help="What it may do; may be repeated. Default: all.")] = None,
    tenant: Annotated[str, typer.Option(help="Whose calls it sees.")] = "default",
    label: Annotated[str, typer.Option(help="What it is for.")] = "",
) -> None:
    """Make a key. It is printed once and stored only as a hash."""
    from trunkline import cli_keys

    settings = options.configuration(os.environ).settings
    asyncio.run(cli_keys.create(settings, kind, tuple(scope or ()), tenant, label, sys.stdout))


@keys_app.command("list")
@takes(*STORE)
def keys_list(options: Options) -> None:
    """All keys, revoked ones too; never their secrets."""
    from trunkline import cli_keys

    asyncio.run(cli_keys.show(options.configuration(os.environ).settings, Console()))


@keys_app.command("revoke")
@takes(*STORE)
def keys_revoke(
    options: Options,
    key_id: Annotated[str, typer.Argument(help="Its id, as `trunkline keys list` shows it.")],
) -> None:
    """Make a key useless from now on."""
    from trunkline import cli_keys

    asyncio.run(cli_keys.revoke(options.configuration(os.environ).settings, key_id, sys.stdout))
