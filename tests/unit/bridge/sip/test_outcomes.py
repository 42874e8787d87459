"""SIP codes as outcomes, and the estimate of quality."""

import pytest

from trunkline.bridge.sip.outcomes import mos, of_refusal
from trunkline.outcome import EndCause


@pytest.mark.parametrize(
    ("code", "cause", "fault"),
    [
        (486, EndCause.BUSY, "callee"),
        (600, EndCause.BUSY, "callee"),
        (480, EndCause.NO_ANSWER, "callee"),
        (408, EndCause.NO_ANSWER, "callee"),
        (603, EndCause.REJECTED, "callee"),
        (699, EndCause.REJECTED, "callee"),
        (404, EndCause.REJECTED, "callee"),
        (487, EndCause.CANCELED, "us"),
        (488, EndCause.CARRIER_FAILED, "us"),
        (401, EndCause.CARRIER_FAILED, "us"),
        (403, EndCause.CARRIER_FAILED, "carrier"),
        (499, EndCause.CARRIER_FAILED, "carrier"),
        (503, EndCause.CARRIER_FAILED, "carrier"),
        (0, EndCause.CARRIER_FAILED, "carrier"),
    ],
)
def test_a_code_has_one_meaning(code: int, cause: EndCause, fault: str) -> None:
    outcome = of_refusal(code, "Reason")
    assert (outcome.cause, outcome.fault) == (cause, fault)
    assert outcome.code == (f"{code} Reason" if code else "no answer to the INVITE")


def test_a_trunk_may_mean_something_else() -> None:
    outcome = of_refusal(503, "Service Unavailable", {503: EndCause.BUSY})
    assert (outcome.cause, outcome.fault, outcome.code) == (EndCause.BUSY, "callee", "503 Service Unavailable")


def test_quality_falls_with_loss_and_delay_and_stays_within_its_scale() -> None:
    assert mos(0.0, 40.0) == pytest.approx(4.4, abs=0.1)  # a clean line, as G.107's default
    scores = [mos(loss, 60.0) for loss in (0.0, 0.01, 0.05, 0.2, 1.0)]
    assert scores == sorted(scores, reverse=True)
    assert mos(0.0, 400.0) < mos(0.0, 150.0)
    assert 1.0 <= mos(1.0, 2000.0) <= mos(0.0, 0.0) <= 4.5
