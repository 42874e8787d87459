"""Figures: their names pass promtool, their labels stay few, a call leaves nothing behind in them."""

import re
import shutil
import subprocess

import pytest

from trunkline import metrics as metrics_module
from trunkline.calls.events import (
    BargeIn,
    CallEnded,
    CallEvent,
    CallStarted,
    Note,
    Odd,
    ReplyDone,
    ReplyOnWire,
    ToolUsed,
    TurnAnswered,
    Used,
)
from trunkline.metrics import Metrics

STARTED = CallStarted(0.0, "inbound", "smartflo", "receptionist", "+919800000001", "+918069000000")
WHOLE_CALL: tuple[CallEvent, ...] = (
    STARTED,
    ReplyOnWire(0.4, "r1", 0),
    ReplyDone(2.0, "r1", 0, 1.6, "Hello.", False, 0.4),
    TurnAnswered(4.0, 1, 0.9, {"endpointing": 0.6, "llm": 0.1, "bridge": 0.2}),
    BargeIn(5.0, 2, "r2", 0.2, 3.0),
    ToolUsed(5.5, 2, "place_order", 12.0, True),
    Used(5.6, "offline", {"stt_seconds": 2.0}),
    Odd(6.0, "bad_json"),
    Note(7.0, "silence_prompt"),
    CallEnded(9.0, "completed", "caller", "Call ended", {"late_frames": 3, "none": 0}),
)


def told(metrics: Metrics, *events: CallEvent, call_id: str = "c-1") -> None:
    for event in events:
        metrics.notify(call_id, event)


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(name, labels)


def test_a_whole_call_is_told_in_figures() -> None:
    metrics = Metrics()
    told(metrics, *WHOLE_CALL)
    call = {"carrier": "smartflo", "direction": "inbound"}
    assert value(metrics, "trunkline_calls_active", **call) == 0
    ended = call | {"cause": "completed", "fault": "caller", "agent": "receptionist"}
    assert value(metrics, "trunkline_calls_total", **ended) == 1
    assert value(metrics, "trunkline_turn_response_seconds_sum") == 0.9
    assert value(metrics, "trunkline_turn_stage_seconds_sum", stage="endpointing") == 0.6
    assert value(metrics, "trunkline_barge_in_stop_seconds_sum") == 0.003
    assert value(metrics, "trunkline_answer_to_first_audio_seconds_sum") == 0.4
    assert value(metrics, "trunkline_media_oddities_total", carrier="smartflo", kind="bad_json") == 1
    assert value(metrics, "trunkline_media_counts_total", kind="late_frames") == 3
    assert value(metrics, "trunkline_media_counts_total", kind="none") is None
    assert value(metrics, "trunkline_usage_total", provider="offline", unit="stt_seconds") == 2.0


def test_a_live_call_is_active_and_a_repeated_start_is_not_a_second_call() -> None:
    metrics = Metrics()
    told(metrics, STARTED, STARTED)
    assert value(metrics, "trunkline_calls_active", carrier="smartflo", direction="inbound") == 1


def test_events_of_unknown_calls_and_in_any_order_are_survived() -> None:
    metrics = Metrics()
    told(metrics, *reversed(WHOLE_CALL))
    told(metrics, *WHOLE_CALL[1:], call_id="never-started")
    assert value(metrics, "trunkline_calls_total", carrier="smartflo") is None


def test_calls_that_never_end_are_forgotten_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics_module, "MAX_FOLDS", 5)
    metrics = Metrics()
    for number in range(20):
        told(metrics, STARTED, call_id=f"c-{number}")
    assert value(metrics, "trunkline_calls_active", carrier="smartflo", direction="inbound") == 5


def test_values_from_outside_cannot_make_endless_series() -> None:
    metrics = Metrics()
    told(metrics, STARTED, *(Odd(1.0, f"kind-{number}") for number in range(500)))
    series = re.findall(rb"^trunkline_media_oddities_total\{", metrics.render(), re.MULTILINE)
    assert len(series) == metrics_module.MAX_KINDS + 1


def test_no_call_id_and_no_number_is_in_any_label() -> None:
    metrics = Metrics()
    told(metrics, *WHOLE_CALL, call_id="c-secret-1")
    text = metrics.render().decode()
    assert "c-secret-1" not in text
    assert not re.search(r"\d{7,}\"", text)
    assert "_created" not in text


def test_promtool_accepts_all_of_it() -> None:
    promtool = shutil.which("promtool") or ".cache/tools/promtool"
    metrics = Metrics()
    told(metrics, *WHOLE_CALL)
    metrics.refused("smartflo", "full")
    metrics.webhook("smartflo", "new")
    metrics.request("GET", "/calls/{id}", 200)
    metrics.watch("spectators", "Event streams open.", lambda: 2.0)
    try:
        done = subprocess.run([promtool, "check", "metrics"], input=metrics.render(), capture_output=True, check=False)
    except FileNotFoundError:
        pytest.skip("promtool is not installed (scripts/promtool.sh gets it)")
    assert (done.returncode, done.stdout + done.stderr) == (0, b"")
