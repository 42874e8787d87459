"""Which codecs are offered, in which order."""

import pytest

from trunkline.bridge.sip.codec_order import codec_rank, ordered

SDP = """v=0
o=- 1 1 IN IP4 127.0.0.1
s=-
c=IN IP4 127.0.0.1
t=0 0
m=audio 4000 RTP/AVP 0 8 9 96 120
a=rtpmap:0 PCMU/8000
a=rtpmap:8 PCMA/8000
a=rtpmap:96 L16/16000
a=rtpmap:120 telephone-event/8000
a=fmtp:120 0-16
a=sendrecv
m=video 0 RTP/AVP 31
a=rtpmap:8 nothing/8000
"""
WANTED = ("PCMU", "PCMA", "G722", "L16", "opus")


@pytest.mark.parametrize(
    ("codec", "rank"),
    [
        ("PCMU/8000/1", 0), ("G722/16000/1", 2), ("L16/8000/1", 3), ("L16/16000/1", 3), ("L16/44100/1", None),
        ("L16/8000/2", None), ("GSM/8000/1", None), ("opus/48000/2", 4),
    ],
)  # fmt: skip
def test_what_a_codec_is_worth(codec, rank):
    assert codec_rank(codec, WANTED) == rank


def test_an_offer_in_the_trunks_order():
    lines = ordered(SDP, ("G722", "PCMA")).split("\r\n")
    assert "m=audio 4000 RTP/AVP 9 8 120" in lines
    assert not any(line.startswith(("a=rtpmap:0 ", "a=rtpmap:96 ")) for line in lines)
    assert [line for line in lines if line.startswith("a=fmtp")] == ["a=fmtp:120 0-16"]
    assert lines[-3:] == ["m=video 0 RTP/AVP 31", "a=rtpmap:8 nothing/8000", ""]


def test_an_offer_that_has_none_of_them_stays():
    assert ordered(SDP, ("opus",)) == SDP
    assert ordered("v=0\n", WANTED) == "v=0\n"
