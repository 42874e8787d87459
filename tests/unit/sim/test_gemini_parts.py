"""What of a sentence arrived, in which pieces and how often."""

from tests.unit.sim.gemini_rig import babble, silence, upsampled
from trunkline_sim.gemini_parts import find_parts, speech_blocks

CLIP, OTHER = babble(1, 1.6), babble(2, 1.6)
WIDE = upsampled(CLIP)
CUT = 2 * 16_000 * 6 // 10  # bytes of 0.6 s


def _there(pcm: bytes) -> list[set[int]]:
    return [set(part.blocks) for part in find_parts(pcm, CLIP)]


def test_a_whole_sentence_is_one_part_and_stands_where_it_was_said() -> None:
    (part,) = find_parts(silence(2) + WIDE + silence(1), CLIP)
    assert abs(part.at_s - 2.0) < 0.005
    assert part.blocks == speech_blocks(CLIP)


def test_a_sentence_cut_in_two_is_found_in_both_halves() -> None:
    (first,) = _there(silence(1) + WIDE[:CUT])
    (second,) = _there(WIDE[CUT:] + silence(1))
    assert max(first) < 31
    assert min(second) >= 29
    assert len(first | second) >= len(speech_blocks(CLIP)) - 1  # the block of the cut itself


def test_what_was_lost_in_the_middle_is_missing() -> None:
    gone = 2 * 320 * 30
    (parts,) = _there(silence(1) + WIDE[:gone] + silence(0.1) + WIDE[gone + 2 * 320 * 5 :] + silence(1))
    assert speech_blocks(CLIP) - parts == {30, 31, 32, 33, 34}


def test_what_came_twice_is_there_twice() -> None:
    parts = _there(WIDE[:CUT] + silence(1) + WIDE + silence(1))
    assert sorted(map(len, parts)) == [30, len(speech_blocks(CLIP))]


def test_strangers_and_silence_hold_nothing_of_it() -> None:
    assert find_parts(silence(2) + upsampled(OTHER) + silence(2), CLIP) == []
    assert find_parts(b"", CLIP) == []
