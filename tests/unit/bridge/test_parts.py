"""The leg's pure parts: reckoning of the far end, channel, rate limit, numbers, table of carriers."""

import asyncio

import pytest

from tests.virtual_time import virtual
from trunkline.bridge import json_dialect as js
from trunkline.bridge.carriers import CARRIERS, carriers, carriers_http
from trunkline.bridge.channel import Channel
from trunkline.bridge.dialect import MediaDialect
from trunkline.bridge.far_end import FarEnd
from trunkline.bridge.numbers import indian, same
from trunkline.bridge.rate import RateLimit
from trunkline.config import Carriers, Smartflo


def sent(far: FarEnd, seconds: float, now: float) -> None:
    far.queued(seconds)
    far.sent(seconds, now)


def marked(far: FarEnd, label: str, now: float) -> str:
    name = far.mark(label, echoes=True)
    far.marked(name, now)
    return name


def test_what_waits_in_our_queue_counts_and_does_not_play() -> None:
    far = FarEnd()
    far.queued(1.0)
    assert far.unplayed(5.0) == 1.0
    far.sent(0.4, 5.0)
    assert far.unplayed(5.1) == pytest.approx(0.6 + 0.3)
    assert far.flush(5.1) == (pytest.approx(0.9), [])
    assert far.unplayed(5.1) == 0.0


def test_a_far_end_that_ran_dry_starts_anew() -> None:
    far = FarEnd()
    sent(far, 0.1, 0.0)
    sent(far, 0.1, 3.0)
    assert far.unplayed(3.0) == pytest.approx(0.1)


def test_a_mark_settles_when_echoed_and_due() -> None:
    far = FarEnd()
    sent(far, 1.0, 0.0)
    name = marked(far, "a", 0.0)
    assert name == "g1-1"
    assert far.settled(1.5) == []
    assert far.echo(name, 1.05)
    assert far.settled(1.05) == ["a"]
    assert far.echo(name, 1.1)
    assert far.late_marks == 1
    assert far.settled(9.0) == []


def test_the_echo_of_a_later_mark_settles_earlier_ones() -> None:
    far = FarEnd()
    sent(far, 0.2, 0.0)
    marked(far, "a", 0.0)
    sent(far, 0.2, 0.0)
    later = marked(far, "b", 0.0)
    far.echo(later, 0.45)
    assert far.settled(0.45) == ["a", "b"]


def test_a_far_end_that_stalled_is_reckoned_with() -> None:
    far = FarEnd()
    sent(far, 0.2, 0.0)
    name = marked(far, "a", 0.0)
    sent(far, 0.2, 0.0)
    later = marked(far, "b", 0.0)
    far.echo(name, 1.2)  # a second late: it stood still
    assert far.unplayed(1.0) == pytest.approx(0.4 + 0.75 - 1.0)
    far.echo(later, 1.4)
    assert far.settled(1.4) == ["a", "b"]


def test_travelling_time_is_no_backlog() -> None:
    far = FarEnd()
    sent(far, 0.2, 0.0)
    name = marked(far, "a", 0.0)
    sent(far, 0.2, 0.0)
    far.echo(name, 0.4)  # 200 ms on the way
    assert far.unplayed(0.4) == 0.0


def test_flush_tells_heard_from_dropped_marks() -> None:
    far = FarEnd()
    sent(far, 0.2, 0.0)
    marked(far, "heard", 0.0)
    sent(far, 0.2, 0.0)
    name = marked(far, "dropped", 0.0)
    far.mark("waiting", echoes=True)
    assert far.flush(0.25) == (pytest.approx(0.15), [("heard", False), ("dropped", True), ("waiting", True)])
    assert far.echo(name, 0.3)
    assert far.settled(9.0) == []
    assert marked(far, "next", 0.3).startswith("g2-")


def test_a_rate_limit_admits_a_burst_and_counts_the_rest() -> None:
    rate = RateLimit(100)
    assert [rate.admits(0.0) for _ in range(150)].count(True) == 100
    assert rate.refused == 50
    assert [rate.admits(0.1) for _ in range(20)].count(True) == 10
    assert rate.refused == 60
    assert rate.admits(0.7)
    assert rate.refused == 0


@virtual
async def test_a_channel_drops_the_oldest_and_ends_after_the_last() -> None:
    channel: Channel[int] = Channel(3)
    assert [channel.put(n) for n in range(5)] == [0, 0, 0, 1, 1]
    channel.close()
    assert channel.put(9) == 1
    assert [n async for n in channel] == [2, 3, 4]
    assert channel.held == 0


@virtual
async def test_a_cancelled_reader_of_a_channel_loses_nothing() -> None:
    channel: Channel[int] = Channel(3)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1):
            await anext(channel)
    channel.put(1)
    assert await anext(channel) == 1


@pytest.mark.parametrize(
    ("written", "e164"),
    [
        ("919800000001", "+919800000001"),
        ("+91 98000-00001", "+919800000001"),
        ("09800000001", "+919800000001"),
        ("9800000001", "+919800000001"),
        ("0044 20 7946 0000", "+442079460000"),
        ("+14155550100", "+14155550100"),
        ("1800", "1800"),
        ("anonymous", ""),
        ("", ""),
        ("sip:rosa@example.com", "sip:rosa@example.com"),
        ("rosa", "rosa"),
    ],
)
def test_numbers(written: str, e164: str) -> None:
    assert indian(written) == e164


def test_the_same_line_however_written() -> None:
    assert same("+919800000001", "09800000001")
    assert not same("+919800000001", "9800000002")
    assert not same("", "")


def test_numbers_never_raise_on_json() -> None:
    for value in (None, [], {}, True, float("nan"), float("inf"), 10**5000, "9" * 5000, "\ud800"):
        js.text(value), js.whole(value), js.truth(value), js.parameters(value), js.scalar_or_json(value)
    assert js.truth("TRUE")
    assert not js.truth("0")


def test_every_carrier_is_in_the_table_under_its_name() -> None:
    table = carriers(Carriers(smartflo=Smartflo(say_connected_after_s=2.5)))
    assert set(table) == set(CARRIERS) == set(carriers_http(Carriers())) == {"smartflo", "twilio"}
    assert table["smartflo"].hello_after_s == 2.5
    for name, profile in table.items():
        dialect: MediaDialect = profile.dialect({})
        assert profile.name == name
        assert profile.lead_s * 1000 >= profile.frame_ms
        assert dialect.receive("") != ()
