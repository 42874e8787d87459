"""How far a recognised text is to be trusted: a logistic judgement of three scores. Pure.

A closed language model turns any sound into its own words, so the text alone says nothing. Fitted on sentences of the
language against 20 off-topic ones and a real speaker's prompts, in eight synthetic voices: on those the acoustic score
per speech frame does most of the work (area under the curve 0.96) and the posterior helps with short answers. How it
fares on speech that it was not fitted on is in docs/speech.md.
"""

import math
from dataclasses import dataclass
from typing import Final

_PROBABILITY: Final = 1.09  # per decade of the posterior probability
_PER_WORD: Final = -0.91  # per decade and word
_ACOUSTIC: Final = 14.0  # per nat and 100 frames
_BIAS: Final = 9.3
_SMOOTHING: Final = 60  # frames added, so that one short word is not judged by its few frames alone
_LEAST: Final = 1e-30


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the decoder says of its best path."""

    probability: float  # posterior of the path in the lattice, 0..1
    score: float  # path score as the decoder gives it, 0..1: e to the power of its log score
    words: int
    frames: int  # of 10 ms, silence left out


def confidence(evidence: Evidence) -> float:
    """0..1: how likely it is that the speaker said something of the domain, and this."""
    decades = math.log10(max(evidence.probability, _LEAST))
    acoustic = math.log(max(evidence.score, _LEAST)) / (evidence.frames + _SMOOTHING) * 100
    z = _BIAS + _PROBABILITY * decades + _PER_WORD * decades / max(1, evidence.words) + _ACOUSTIC * acoustic
    return 1.0 / (1.0 + math.exp(-max(-50.0, min(50.0, z))))
