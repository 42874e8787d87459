"""The caller's voice on its way in: positions stay exact whatever is lost."""

import pytest

from trunkline.bridge.dialect import WireAudio
from trunkline.bridge.inbound import Inbound
from trunkline.codecs.codec import Codec
from trunkline.codecs.table import L16_16K, PCMU


@pytest.mark.parametrize("codec", [PCMU, L16_16K], ids=lambda codec: codec.name)
@pytest.mark.parametrize("ms", [20, 30, 40, 60, 100])
def test_no_loss_of_whatever_length_shifts_what_follows_by_a_sample(codec: Codec, ms: int) -> None:
    message = bytes(codec.bytes_per_second * ms // 1000)
    samples = codec.rate * ms // 1000
    for lost in range(1, 60):
        inbound = Inbound(codec, {})
        inbound.receive(WireAudio(message))
        last = inbound.receive(WireAudio(message, lost=lost))[-1]
        assert last.start + last.samples == samples * (lost + 2)


def test_a_piece_too_short_to_be_handed_out_stands_before_the_gap() -> None:
    inbound = Inbound(PCMU, {})
    assert inbound.receive(WireAudio(bytes(40))) == ()
    frames = inbound.receive(WireAudio(bytes(160), lost=100))
    assert (frames[0].start, frames[0].samples) == (0, 40)
    assert frames[-1].start + frames[-1].samples == 40 + 100 * 40 + 160
