"""How sure a text is."""

from trunkline.ai.offline.confidence import Evidence, confidence


def test_confidence_rises_with_each_score() -> None:
    base = Evidence(probability=0.01, score=0.3, words=5, frames=150)
    assert 0.0 < confidence(base) < 1.0
    assert confidence(Evidence(0.5, 0.3, 5, 150)) > confidence(base)
    assert confidence(Evidence(0.01, 0.5, 5, 150)) > confidence(base)
    assert confidence(Evidence(0.01, 0.3, 5, 300)) > confidence(base)
    assert confidence(Evidence(0.0, 0.0, 0, 0)) < 0.01
