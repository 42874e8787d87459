"""`trunkline check`: what is in force, and why."""

from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from trunkline.config import Settings
from trunkline.config_load import Configuration, Row, explain
from trunkline.service_sentences import outlook


def show(configuration: Configuration, *, every: bool, console: Console) -> None:
    """Print the settings that were set (with `every`, the defaults too), then the environment names that were seen."""
    rows = explain(configuration)
    usual = {row.key: row.value for row in explain(Configuration(Settings()))}
    shown = rows if every else [row for row in rows if _chosen(row, usual)]
    if shown:
        console.print(_table("in force", ("setting", "value", "from"), [(r.key, r.value, r.source) for r in shown]))
    if configuration.environment:
        seen = [(row.name, row.value, row.status) for row in configuration.environment]
        console.print(_table("environment", ("name", "value", ""), seen))
    if not every:
        hidden = len(rows) - len(shown)
        console.print(f"{hidden} settings are at their defaults; `trunkline check --all` shows them.", style="dim")
    for complaint in outlook(configuration.settings):
        console.print(Text(complaint), style="yellow")
    console.print("The configuration is valid.", style="green")


def _chosen(row: Row, usual: Mapping[str, str]) -> bool:
    """True for what somebody chose: a value unlike the default, or one from the environment or command line."""
    return row.value != usual.get(row.key) or row.source.startswith(("environment", "command line"))


def _table(title: str, columns: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> Table:
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))
    return table
