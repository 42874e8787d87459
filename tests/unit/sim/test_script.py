"""The callers' language."""

from pathlib import Path

import pytest

from trunkline_sim.errors import ScriptError
from trunkline_sim.phone import carrier_settings
from trunkline_sim.script import (
    ExpectBargeIn,
    ExpectText,
    ExpectTool,
    HangUpStep,
    Interrupt,
    Press,
    Say,
    Silence,
    Speech,
    WaitForAgent,
    WaitForHangUp,
    load,
    parse,
)

EXAMPLES = sorted((Path(__file__).parents[3] / "examples").glob("*.call"))


def test_every_form_is_read() -> None:
    script = parse(
        """
        title: All of it
        voice: awb
        from: +91 98000 00002
        clear: late
        # a comment
        wait for agent
        wait for agent up to 3 s
        wait for hang up within 500 ms
        silence 1.5 s
        say "what are your hours" in voice slt
        play asterisk:vm-no
        play mine.wav
        interrupt after 800 ms with "stop"
        press 12#
        expect /OPEN|hours/
        expect order
        expect 2 orders
        expect tool lookup_order
        expect barge-in
        hang up
        """
    )
    assert (script.title, script.voice, script.from_, dict(script.carrier)) == (
        "All of it", "awb", "+91 98000 00002", {"clear": "late"},
    )  # fmt: skip
    kinds = [type(step) for step in script.steps]
    assert kinds == [
        WaitForAgent, WaitForAgent, WaitForHangUp, Silence, Say, Say, Say, Interrupt, Press,
        ExpectText, ExpectTool, ExpectTool, ExpectTool, ExpectBargeIn, HangUpStep,
    ]  # fmt: skip
    assert script.steps[1] == WaitForAgent(8, 3.0)
    assert script.steps[2] == WaitForHangUp(9, 0.5)
    assert script.steps[4] == Say(11, Speech("what are your hours", "slt"))
    assert script.steps[7] == Interrupt(14, 0.8, Speech("stop"))
    assert script.steps[9].pattern.search("we open at nine")  # type: ignore[union-attr]
    assert script.steps[11] == ExpectTool(18, "place_order", 2)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('sya "hello"', "x:1: 'sya \"hello\"' is no step; did you mean 'say'?"),
        ("wait for agent\nsay hello", "x:2: cannot read 'say hello'; a line with 'say' looks like: say \"words\""),
        ("expect /(/", "x:1: not a regular expression"),
        ("voise: kal", "x:1: unknown setting 'voise'; did you mean 'voice'?"),
        ("hang up\nvoice: awb", "x:2: setting 'voice' belongs above the first step"),
        ("press Q", "x:1: cannot read 'press Q'"),
        ("# nothing", "x: no step in it"),
    ],
)
def test_a_wrong_line_is_named_by_its_number(text: str, told: str) -> None:
    with pytest.raises(ScriptError) as wrong:
        parse(text, "x")
    assert told in str(wrong.value)


def test_all_wrong_lines_are_told_at_once() -> None:
    with pytest.raises(ScriptError) as wrong:
        parse("foo\nwait for agent\nbar", "x")
    assert str(wrong.value).count("\n") == 1


def test_a_missing_file_is_an_error_of_ours() -> None:
    with pytest.raises(ScriptError, match="cannot be read"):
        load(Path("no-such.call"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_the_examples_are_right(path: Path) -> None:
    script = load(path)
    assert script.title
    carrier_settings(script.carrier)


def test_there_are_examples() -> None:
    assert {path.stem for path in EXAMPLES} >= {"order", "hours", "barge_in", "keys", "silence"}


def test_carrier_settings_become_faults() -> None:
    faults, message_ms = carrier_settings({"clear": "late", "loss": "2.5", "no_stop": "yes", "message_ms": "20"})
    assert (faults.clear, faults.loss, faults.no_stop, message_ms) == ("late", 2.5, True, 20)


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("clear", "maybe", "must be one of honoured, late, ignored"),
        ("loss", "lots", "from 0 to 100"),
        ("loss", "-1", "from 0 to 100"),
        ("no_stop", "perhaps", "must be one of"),
        ("message_ms", "50", "must be one of 20"),
    ],
)
def test_wrong_carrier_settings_are_named(name: str, value: str, told: str) -> None:
    with pytest.raises(ScriptError, match=told):
        carrier_settings({name: value})


def test_a_line_that_cannot_be_read_shows_each_form_once() -> None:
    with pytest.raises(ScriptError) as wrong:
        parse("expect 1 order")
    assert str(wrong.value).count("expect 2 orders") == 1
