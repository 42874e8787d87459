"""What the SIP load makes of the packets that came."""

from types import SimpleNamespace

import pytest

from bench.sip_load import Phase, _packets, speech
from bench.sip_media import PILOT, PULSE, SILENCE, Stream


def phone(*packets: tuple[int, float], empty: int = 0):
    stream = Stream(4000, 0, empty=empty)
    for number, at in packets:
        stream.numbers.append(number)
        stream.arrivals.append(at)
    return SimpleNamespace(stream=stream)


def test_late_lost_and_uneven_packets_are_told_apart():
    even = [(number, 10 + number * 0.02) for number in range(100)]
    assert _packets([phone(*even)]) == (100, 0, 0.0, (0.0, 0.0, 0.0), (0.0, 0.0, 0.0), 0.0)
    worse = [*even[:50], (50, 10 + 50 * 0.02 + 0.03), *even[53:]]
    count, lost, late, lateness, jitter, holes = _packets([phone(*worse, empty=7)])
    assert (count, lost, late, holes) == (98, 2, pytest.approx(1 / 98, abs=1e-4), pytest.approx(7 / 98, abs=1e-4))
    assert (lateness[2], jitter[2]) == (pytest.approx(30.0), pytest.approx(30.0))


def test_a_caller_is_quiet_or_has_a_pulse_among_its_tones_only_while_it_counts():
    stream, phase = Stream(4000, 0), Phase()
    speech(stream, 0, phase)
    assert stream.payload(50) == PILOT
    phase.counting = True
    assert (stream.payload(50), stream.payload(51), stream.pulses) == (PULSE, PILOT, 1)
    phase.quiet = True
    assert (stream.payload(50), stream.pulses) == (SILENCE, 1)
