"""What is left of a call: transcript, latency table, stereo WAV, result, in words and files."""

import io
import json
import statistics
import wave
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from trunkline_sim import mulaw
from trunkline_sim.account import Account, Answer

STAGE_NAMES = {
    "endpointing": "turn end",
    "stt_tail": "recogn.",
    "llm": "model",
    "first_clause": "clause",
    "tts": "voice",
    "bridge": "bridge",
}


@dataclass(frozen=True, slots=True)
class AgentLine:
    """One reply as the caller heard it. `lost` is the part that was cut off."""

    from_s: float
    heard: str
    lost: str
    interrupted: bool


def agent_lines(account: Account) -> list[AgentLine]:
    """The agent's replies in order; empty where the service's events are not to be had."""
    texts: dict[str, list[str]] = {}
    began: dict[str, float] = {}
    done: dict[str, AgentLine] = {}
    for event in account.events:
        if event.event == "reply_saying":
            texts.setdefault(event.reply, []).append(event.text)
            began.setdefault(event.reply, event.at_s)
        elif event.event == "reply_done":
            whole = " ".join(texts.get(event.reply, []))
            lost = _rest(whole, event.heard_text) if event.interrupted else ""
            done[event.reply] = AgentLine(event.began_s, event.heard_text, lost, event.interrupted)
    for reply, clauses in texts.items():
        done.setdefault(reply, AgentLine(began[reply], " ".join(clauses), "", False))
    return sorted(done.values(), key=lambda line: line.from_s)


def _rest(whole: str, heard: str) -> str:
    return " ".join(whole.split()[len(heard.split()) :])


def understood(account: Account) -> list[str]:
    """What the service understood, by its final word on each turn."""
    final = {event.turn: event.text for event in account.events if event.event == "caller_understood" and event.final}
    return [text for _, text in sorted(final.items())]


def headline(account: Account) -> tuple[str, str]:
    """Title and subtitle of a call."""
    facts, faults = account.stream.facts, account.stream.faults
    title = account.script.title or account.script.name
    parts = [f"{facts.from_} to {facts.to}", f"{account.duration_s:.1f} s", f"{account.stream.name}, simulated"]
    parts += [f"clear {faults.clear}"] if faults.clear != "honoured" else []
    parts += [f"ended by the {account.ending.by} ({account.ending.reason})"]
    parts += [f"call {account.call_id}"] if account.call_id else []
    return title, "   ·   ".join(parts)


def summary(account: Account) -> list[tuple[str, str]]:
    """The few figures that matter: (what, value)."""
    waits = [a.response_s for a in account.answers if a.did is not None and a.response_s is not None]
    silent = [b.silent_ms for b in account.barge_ins if b.silent_ms is not None]
    told = [("median answer", f"{statistics.median(waits):.2f} s"), ("slowest", f"{max(waits):.2f} s")] if waits else []
    told += [("silent after barge-in", f"{statistics.median(silent):.0f} ms")] if silent else []
    met = sum(judged.verdict == "met" for judged in account.judged)
    return [*told, ("expectations met", f"{met} of {len(account.judged)}")] if account.judged else told


def transcript(account: Account) -> str:
    """Both sides in order; of the agent only what was heard."""
    lines: list[tuple[float, str]] = [
        (did.from_s, f"caller: {did.label if did.kind != 'pressed' else f'(presses {did.label})'}")
        for did in account.did
    ]
    said = agent_lines(account)
    for line in said:
        cut = " -- [cut off]" if line.interrupted else ""
        lines.append((line.from_s, f"agent:  {line.heard or '(nothing heard)'}{cut}"))
    if not said:
        lines += [(run.from_s, f"agent:  (speaks {run.to_s - run.from_s:.1f} s)") for run in account.agent_runs]
    return "".join(f"[{at_s:7.2f}] {text}\n" for at_s, text in sorted(lines))


def latency_table(account: Account) -> Table:
    """Per turn: what the caller waited, and what for."""
    stages = [name for name in STAGE_NAMES if any(name in answer.stages for answer in account.answers)]
    table = Table(header_style="bold")
    table.add_column("caller", max_width=34, no_wrap=True)
    table.add_column("wire", justify="right")
    table.add_column("heard", justify="right")
    for name in stages:
        table.add_column(STAGE_NAMES[name], justify="right", style="dim")
    for answer in account.answers:
        cells = (_s(answer.response_s), _s(answer.heard_response_s), *(_s(answer.stages.get(name)) for name in stages))
        table.add_row(escape(_act(answer)), *cells)
    return table


def _act(answer: Answer) -> str:
    if answer.did is None:
        return "(greeting)"
    return f"presses {answer.did.label}" if answer.did.kind == "pressed" else answer.did.label


def _s(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds:.2f}"


def tell(account: Account, console: Console, files: Sequence[Path] = ()) -> None:
    """The end of a call, on a terminal."""
    console.print("How long the caller waited, from the last word to the first sound, in seconds:")
    console.print(latency_table(account))
    for barge_in in account.barge_ins:
        clear = "no clear" if barge_in.clear_ms is None else f"clear after {barge_in.clear_ms:.0f} ms"
        silent = "never silent" if barge_in.silent_ms is None else f"silence heard after {barge_in.silent_ms:.0f} ms"
        dead = f", {barge_in.dead} messages of the cut reply after it" if barge_in.dead else ""
        console.print(f"barge-in at {barge_in.did.from_s:.2f} s (from the onset on the wire): {clear}, {silent}{dead}")
    for judged in account.judged:
        sign, style = {"met": ("ok", "green"), "failed": ("FAILED", "red"), "unknown": ("cannot tell", "yellow")}[
            judged.verdict
        ]
        console.print(f"[{style}]{sign}[/] line {judged.line}: {escape(judged.text)}: ", end="")
        console.print(judged.reason, markup=False, highlight=False, soft_wrap=True)
    for kind, count in sorted(account.stream.listener.complaints.items()):
        console.print(f"[red]the platform complains:[/] {kind} × {count}")
    for path in files:
        console.print(f"  {path}", highlight=False, soft_wrap=True)


def keep(account: Account, folder: Path) -> list[Path]:
    """Write call.wav (left: caller, right: agent as heard), transcript.txt and result.json; their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    wav, text, result = folder / "call.wav", folder / "transcript.txt", folder / "result.json"
    wav.write_bytes(stereo(bytes(account.stream.mic.track), bytes(account.stream.playout.heard)))
    text.write_text(transcript(account), "utf-8")
    result.write_text(json.dumps(figures(account), indent=2) + "\n", "utf-8")
    return [wav, text, result]


def stereo(left: bytes, right: bytes) -> bytes:
    """Two mu-law tracks from the same moment on → a WAV file, 16 bit, 8 kHz, padded to the same length."""
    length = max(len(left), len(right))
    tracks = [mulaw.decode(track.ljust(length, bytes((mulaw.SILENCE,)))) for track in (left, right)]
    data = io.BytesIO()
    with wave.open(data, "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(mulaw.RATE)
        file.writeframes(np.column_stack(tracks).astype("<i2").tobytes())
    return data.getvalue()


def figures(account: Account) -> Mapping[str, Any]:
    """Everything a machine may want to know of a call."""
    stream = account.stream
    return {
        "call_id": account.call_id,
        "carrier_ref": stream.facts.call_sid,
        "script": account.script.name,
        "from": stream.facts.from_,
        "to": stream.facts.to,
        "duration_s": round(account.duration_s, 3),
        "ended_by": account.ending.by,
        "reason": account.ending.reason,
        "close_code": account.ending.code,
        "good": account.good,
        "expectations": [
            {"line": j.line, "what": j.text, "verdict": j.verdict, "reason": j.reason} for j in account.judged
        ],
        "answers": [_answer_figures(answer) for answer in account.answers],
        "understood": understood(account),
        "barge_ins": [
            {
                "at_s": round(b.did.from_s, 3),
                "clear_ms": _round(b.clear_ms, 1),
                "silent_ms": _round(b.silent_ms, 1),
                "dead_messages": b.dead,
            }
            for b in account.barge_ins
        ],
        "messages": dict(stream.listener.messages),
        "complaints": dict(stream.listener.complaints),
        "faults": dict(stream.link.counts),
    }


def _answer_figures(answer: Answer) -> Mapping[str, Any]:
    return {
        "caller": _act(answer),
        "response_s": _round(answer.response_s, 3),
        "heard_response_s": _round(answer.heard_response_s, 3),
        "stages": dict(answer.stages),
    }


def _round(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)
