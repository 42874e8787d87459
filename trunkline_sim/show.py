"""A call live in a terminal: two columns with level meters, or plain lines where nobody sits in front of it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from trunkline_sim.caller import Act, HangUp, Hold, PressKey, Speak, Transfer
from trunkline_sim.phone import Audience
from trunkline_sim.spectator import Told

_METER = 24  # cells
_FLOOR_DBOV, _TOP_DBOV = -54.0, -10.0


@dataclass(slots=True)
class _Row:
    at_s: float
    caller: str = ""
    agent: str = ""
    reply: str = ""


def _acted(act: Act) -> str:
    match act:
        case Speak():
            return act.label
        case PressKey():
            return f"(presses {act.key})"
        case Hold():
            return "(holds)" if act.on else "(is back)"
        case Transfer():
            return f"(asks for a transfer to {act.target})"
        case HangUp():
            return "(hangs up)"


def _aside(event: Told) -> str:
    """A line about what else happened; "" for what is not worth one."""
    match event.event:
        case "caller_understood" if event.final:
            sure = f", {event.confidence:.0%} sure" if event.confidence is not None else ""
            return f'understood: "{event.text}"{sure}'
        case "turn_answered":
            stages = ", ".join(f"{name} {seconds:.2f}" for name, seconds in event.stages.items() if seconds >= 0.005)
            return f"answers after {event.response_s:.2f} s" + (f" ({stages})" if stages else "")
        case "tool_used":
            return f"{event.summary or event.name} ({event.took_ms:.0f} ms{'' if event.ok else ', failed'})"
        case "barge_in":
            return f"barge-in: {event.dropped_s:.2f} s of the reply thrown away"
        case "odd":
            return f"odd: {event.kind} {event.detail}"
        case "note":
            return f"{event.kind}: {event.text}"
        case "call_ended":
            return f"call ended: {event.cause}"
        case _:
            return ""


class PlainShow:
    """One line per thing that happens."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def acted(self, act: Act, at_s: float) -> None:
        """The caller does something."""
        self._line(at_s, "caller", _acted(act))

    def told(self, event: Told) -> None:
        """The service tells something."""
        if event.event == "reply_saying":
            self._line(event.at_s, "agent", event.text)
        elif event.event == "reply_done" and event.interrupted:
            self._line(event.at_s, "", f'cut off: heard only "{event.heard_text}"')
        elif aside := _aside(event):
            self._line(event.at_s, "", aside)

    def levels(self, caller_dbov: float, agent_dbov: float, at_s: float) -> None:
        """Not for lines."""

    def _line(self, at_s: float, who: str, text: str) -> None:
        self._console.print(f"{at_s:7.2f} {who:>7}  {text}", markup=False, highlight=False, soft_wrap=True)


@dataclass(slots=True)
class LiveShow:
    """Two columns that grow, meters below."""

    title: str
    height: int = 24
    _rows: list[_Row] = field(default_factory=list)
    _meters: tuple[float, float] = (-96.0, -96.0)
    _at_s: float = 0.0

    def acted(self, act: Act, at_s: float) -> None:
        """The caller does something."""
        self._rows.append(_Row(at_s, caller=escape(_acted(act))))

    def told(self, event: Told) -> None:
        """The service tells something."""
        row = next((row for row in self._rows if event.reply and row.reply == event.reply), None)
        if event.event == "reply_saying" and row is not None:
            row.agent += f" {escape(event.text)}"
        elif event.event == "reply_saying":
            self._rows.append(_Row(event.at_s, agent=escape(event.text), reply=event.reply))
        elif event.event == "reply_done" and event.interrupted and row is not None:
            row.agent = f"{escape(event.heard_text)} [bold red]cut off[/]"
        elif aside := _aside(event):
            style = "bold red" if event.event == "barge_in" else "dim"
            column = {"caller_understood": "caller"}.get(event.event, "agent")
            self._rows.append(_Row(event.at_s, **{column: f"[{style}]{escape(aside)}[/]"}))

    def levels(self, caller_dbov: float, agent_dbov: float, at_s: float) -> None:
        """Both voices now: meters fall slowly, as meters do."""
        held = tuple(max(new, old - 1.5) for new, old in zip((caller_dbov, agent_dbov), self._meters, strict=True))
        self._meters, self._at_s = (held[0], held[1]), at_s

    def __rich__(self) -> RenderableType:
        table = Table(expand=True, title=f"{self.title}   {self._at_s:5.1f} s", title_justify="left", pad_edge=False)
        table.add_column("s", justify="right", style="dim", width=6)
        table.add_column("caller", ratio=2, style="cyan")
        table.add_column("agent", ratio=3, style="magenta")
        for row in self._rows[-max(4, self.height - 9) // 2 - 4 :]:
            table.add_row(f"{row.at_s:.1f}", row.caller, row.agent)
        meters = Text.assemble(
            ("  caller ", "dim"),
            (_meter(self._meters[0]), "cyan"),
            ("   agent ", "dim"),
            (_meter(self._meters[1]), "magenta"),
        )
        return Group(table, meters)


def _meter(dbov: float) -> str:
    full = round(_METER * min(1.0, max(0.0, (dbov - _FLOOR_DBOV) / (_TOP_DBOV - _FLOOR_DBOV))))
    return "█" * full + "·" * (_METER - full)


@contextmanager
def shown(console: Console, title: str) -> Iterator[Audience]:
    """The audience for a call: live on a terminal, lines elsewhere."""
    if not console.is_terminal:
        yield PlainShow(console)
        return
    show = LiveShow(title, console.height)
    with Live(show, console=console, refresh_per_second=12):
        yield show
