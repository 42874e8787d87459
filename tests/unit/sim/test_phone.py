"""Whole simulated calls against the tiny service, in virtual time: nothing here waits for a real second."""

import json
import wave
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from rich.console import Console

from tests.unit.sim.tiny_service import TinyService, tone
from tests.virtual_time import virtual
from trunkline_sim import picture, report
from trunkline_sim.account import Account, account
from trunkline_sim.caller import Caller
from trunkline_sim.errors import SimError
from trunkline_sim.phone import Plan, carrier_settings, place
from trunkline_sim.script import Speech, parse
from trunkline_sim.smartflo import place_call
from trunkline_sim.spectator import Told
from trunkline_sim.stream import Stream
from trunkline_sim.voices import Voices, speeches
from trunkline_sim.wire import CallFacts

pytestmark = pytest.mark.slow

INTERRUPTED = """
title: Tried
wait for agent
say "one"
interrupt after 800 ms with "two"
expect barge-in
wait for agent
press 1
wait for agent
hang up
"""


class Tones(Voices):
    """A voice that needs no program."""

    def say(self, text: str, voice: str = "kal16") -> bytes:
        return tone(1.0, 300)


async def _call(text: str, service: TinyService, events: list[Told] | None = None, **settings: Any) -> Account:
    script = parse(text)
    caller = Caller(script, {speech: tone(1.0, 300) for speech in speeches(script)})
    faults, message_ms = carrier_settings({**script.carrier, **settings})
    stream = Stream(CallFacts(), faults, message_ms=message_ms)
    async with service.serve() as url:
        ending = await place_call(url, stream, caller)
    return account(script, caller, stream, ending, events or [])


@virtual
async def test_a_call_from_the_greeting_to_the_goodbye() -> None:
    service = TinyService(reply_s=2.0)
    told = await _call(INTERRUPTED, service)
    assert told.good, told.judged
    assert (told.ending.by, told.ending.reason) == ("caller", "stop")
    assert not told.stream.listener.complaints
    events = [message["event"] for message in service.seen]
    assert events[:3] == ["connected", "start", "media"]
    assert events[-1] == "stop"
    numbers = [int(message["sequenceNumber"]) for message in service.seen[1:]]
    assert numbers == list(range(1, len(numbers) + 1))
    media = [message["media"] for message in service.seen if message["event"] == "media"]
    assert [int(m["timestamp"]) for m in media] == [100 * n for n in range(1, len(media) + 1)]
    assert all(len(m["payload"]) == 1068 for m in media)


@virtual
async def test_answers_and_barge_ins_are_measured() -> None:
    told = await _call(INTERRUPTED, TinyService(reply_s=2.0))
    greeting, first, second, key = told.answers
    assert greeting.response_s == pytest.approx(0.0, abs=0.02)
    assert first.response_s == pytest.approx(0.5, abs=0.11)  # the tiny service waits 0.5 s, in steps of a message
    assert second.response_s == pytest.approx(0.5, abs=0.11)
    assert key.response_s == pytest.approx(0.0, abs=0.03)
    (barge_in,) = told.barge_ins
    assert barge_in.clear_ms == pytest.approx(0.0, abs=10)
    assert barge_in.silent_ms == pytest.approx(0.0, abs=25)
    assert barge_in.dead == 0


@virtual
async def test_a_carrier_that_ignores_clear_is_heard_to_the_end_of_its_buffer() -> None:
    told = await _call(INTERRUPTED, TinyService(reply_s=2.0), clear="ignored")
    assert told.barge_ins[0].silent_ms == pytest.approx(220, abs=45)
    assert told.good


@virtual
async def test_audio_of_the_cut_reply_after_the_clear_is_caught() -> None:
    told = await _call(INTERRUPTED, TinyService(reply_s=2.0, dead=True))
    assert told.barge_ins[0].dead > 10
    assert not told.good
    assert "messages of the cut reply" in next(j.reason for j in told.judged if j.verdict == "failed")


@virtual
async def test_an_agent_that_does_not_stop_is_caught() -> None:
    told = await _call(INTERRUPTED, TinyService(reply_s=4.0, stop_on_speech=False))
    assert told.barge_ins[0].clear_ms is None
    assert "no `clear` came" in [judged.reason for judged in told.judged]


@virtual
async def test_the_service_may_hang_up() -> None:
    told = await _call('wait for agent\nsay "bye"\nwait for hang up', TinyService(end_after=1))
    assert (told.ending.by, told.ending.reason) == ("service", "end")
    assert told.good


@pytest.mark.parametrize(
    ("setting", "code"), [({"no_stop": "yes"}, 1000), ({"reset_at_s": "1.5"}, 1006)], ids=["no stop", "reset"]
)
def test_rude_endings(setting: dict[str, str], code: int) -> None:
    service = TinyService(reply_s=1.0)
    virtual(_call)('wait for agent\nsay "one"\nhang up', service, **setting)
    assert "stop" not in [message["event"] for message in service.seen]
    assert service.closed == [code]


@virtual
async def test_loss_leaves_gaps_in_the_numbers() -> None:
    service = TinyService()
    told = await _call("wait for agent\nsilence 5 s\nhang up", service, loss="30")
    numbers = [int(m["sequenceNumber"]) for m in service.seen if m["event"] == "media"]
    assert len(numbers) < len(told.stream.sent_at)
    assert numbers == sorted(set(numbers))


@virtual
async def test_without_a_service_the_error_says_so() -> None:
    with pytest.raises(SimError, match="nothing listens there"):
        await place(Plan(parse("hang up"), "ws://127.0.0.1:1/smartflo/audio"), Tones())


@virtual
async def test_a_plan_is_placed_without_any_events() -> None:
    async with TinyService().serve() as url:
        told = await place(Plan(parse('wait for agent\nsay "one"\nexpect /x/\nhang up'), url), Tones())
    assert [judged.verdict for judged in told.judged] == ["unknown"]
    assert not told.good


@virtual
async def test_an_answer_is_no_answer_before_it_was_asked_for_however_late_the_service_began_to_count() -> None:
    text = "wait for agent\nexpect /beep 0/\npress 1\nwait for agent\nexpect /^beep 1$/\nhang up"
    async with TinyService(late_s=0.4).serve(events=True) as url:
        told = await place(Plan(parse(text), url), Tones())
    assert told.good, told.judged
    said = [event.at_s for event in told.events if event.event == "reply_saying"]
    assert said == pytest.approx([0.0, told.did[0].from_s], abs=0.03)


def _events() -> list[Told]:
    return [
        Told(event="call_started"),
        Told(event="reply_saying", reply="r0", at_s=0.0, text="Welcome. How can I help?"),
        Told(event="reply_done", reply="r0", began_s=0.0, heard_s=2.0, heard_text="Welcome. How can I help?", at_s=2.0),
        Told(event="caller_understood", turn=1, text="one", at_s=4.2),
        Told(event="reply_saying", reply="r1", at_s=4.2, text="We are open from nine"),
        Told(event="reply_saying", reply="r1", at_s=4.3, text="to five on weekdays."),
        Told(event="reply_done", reply="r1", began_s=4.2, heard_text="We are open", interrupted=True, at_s=5.2),
        Told(event="tool_used", name="place_order", at_s=6.0),
        Told(event="reply_saying", reply="r2", at_s=6.6, text="One pizza."),
    ]


@virtual
async def test_expectations_are_judged_by_the_services_events() -> None:
    text = (
        'wait for agent\nexpect /welcome/\nsay "one"\ninterrupt after 800 ms with "two"\nexpect /pizza/\nexpect order\n'
        "expect 2 orders\nexpect /lobster/\nwait for agent\nhang up"
    )
    told = await _call(text, TinyService(reply_s=2.0), _events())
    assert [judged.verdict for judged in told.judged] == ["met", "met", "met", "failed", "failed"]
    assert "One pizza." in told.judged[-1].reason


@virtual
async def test_the_transcript_holds_only_what_was_heard() -> None:
    told = await _call(INTERRUPTED, TinyService(reply_s=2.0), _events())
    text = report.transcript(told)
    assert "agent:  We are open -- [cut off]" in text
    assert "weekdays" not in text
    assert text.index("Welcome") < text.index("caller: one") < text.index("We are open") < text.index("caller: two")


def test_what_is_left_of_a_call(tmp_path: Path) -> None:
    async def main() -> Account:
        return await _call(INTERRUPTED, TinyService(reply_s=2.0), _events())

    from tests.virtual_time import run

    told = run(main())
    wav, text, result = report.keep(told, tmp_path)
    with wave.open(str(wav)) as file:
        assert (file.getnchannels(), file.getframerate()) == (2, 8000)
        assert file.getnframes() / 8000 == pytest.approx(told.duration_s, abs=0.03)
    assert text.read_text("utf-8").startswith("[")
    figures = json.loads(result.read_text("utf-8"))
    assert figures["barge_ins"][0]["dead_messages"] == 0
    assert len(figures["answers"]) == 4
    console = Console(record=True, width=120, file=(tmp_path / "told.txt").open("w"))
    report.tell(told, console, [wav])
    assert "How long the caller waited" in console.export_text()


@virtual
async def test_the_picture_shows_both_voices_and_the_interruption(tmp_path: Path) -> None:
    told = await _call(INTERRUPTED, TinyService(reply_s=2.0), _events())
    path = picture.save(told, tmp_path)
    image = Image.open(path).convert("RGB")
    assert image.width == 3200
    colours = {colour: count for count, colour in image.getcolors(1 << 24) or []}
    for name in (picture.CALLER, picture.AGENT, picture.RED, picture.WAIT):
        rgb = tuple(int(name[i : i + 2], 16) for i in (1, 3, 5))
        assert colours.get(rgb, 0) > 200, name
    svg = (tmp_path / "timeline.svg").read_text("utf-8")
    assert "We are open" in svg
    assert "barge-in: clear" in svg


@virtual
async def test_a_long_call_is_drawn_in_rows(tmp_path: Path) -> None:
    told = await _call("wait for agent\nsilence 50 s\nhang up", TinyService())
    assert 2 <= len(picture._rows_of(told)) <= 4
    image = Image.open(picture.save(told, tmp_path))
    assert image.height > 800


def test_speeches_are_unique_by_what_they_are() -> None:
    script = parse('say "a"\nsay "a"\nplay x.wav')
    assert set(speeches(script)) == {Speech("a"), Speech(recording="x.wav")}


@pytest.mark.parametrize(
    ("to", "told"),
    [
        ("sip:agent@127.0.0.1:99999", "1 to 65535"),
        ("sip:agent@127.0.0.1:0", "1 to 65535"),
        ("sip:agent@127.0.0.1:x", "1 to 65535"),
        ("sip:", "must be sip:USER@HOST"),
        ("sip:agent@", "must be sip:USER@HOST"),
        ("sip:agent@[::1]:5060", "IPv4 alone"),
        ("sip:a b@127.0.0.1", "no spaces"),
        ("sip:agent@127.0.0.1;transport=tls", "udp or tcp"),
        ("SIPS:agent@127.0.0.1", "no TLS"),
        ("SIP:agent@no.such.host.invalid", "no such host"),
        ("sip:agent@255.255.255.255", "no way to 255.255.255.255"),
    ],
)
async def test_what_is_no_sip_address_is_said_to_be_none(to: str, told: str) -> None:
    with pytest.raises(SimError, match=told):
        await place(Plan(parse("hang up"), to, api="http://127.0.0.1:9"), Voices())


async def test_a_carrier_that_the_address_is_not_of_is_refused() -> None:
    with pytest.raises(SimError, match=r"--carrier twilio: but .* is an address of sip"):
        await place(Plan(parse("hang up"), "sip:agent@127.0.0.1", network="twilio"), Voices())
