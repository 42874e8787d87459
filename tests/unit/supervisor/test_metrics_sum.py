"""Figures of several workers as those of one."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from trunkline.metrics import Metrics
from trunkline.metrics_sum import Family, families, lasting, total


def worker(calls: int, *, limit: int = 200, carrier: str = "smartflo") -> list[Family]:
    registry = CollectorRegistry()
    Counter("calls", "Calls.", ["carrier"], namespace="trunkline", registry=registry).labels(carrier).inc(calls)
    Gauge("calls_active", "Live.", namespace="trunkline", registry=registry).set(calls)
    Gauge("calls_limit", "Room.", namespace="trunkline", registry=registry).set(limit)
    seconds = Histogram("turn", "Turn.", namespace="trunkline", registry=registry, buckets=(1.0, 2.0))
    for number in range(calls):
        seconds.observe(number)
    return families(registry.collect())


def values(figures: list[Family]) -> dict[str, float]:
    return {f"{s.name}{sorted(s.labels.items())}": s.value for family in figures for s in family.samples}


def test_counters_gauges_and_buckets_add_up_and_labels_stay_apart() -> None:
    both = values(total([worker(3), worker(2, carrier="twilio"), worker(1)]))
    assert both["trunkline_calls_total[('carrier', 'smartflo')]"] == 4
    assert both["trunkline_calls_total[('carrier', 'twilio')]"] == 2
    assert both["trunkline_calls_active[]"] == 6
    assert both["trunkline_turn_bucket[('le', '1.0')]"] == 2 + 2 + 1
    assert both["trunkline_turn_count[]"] == 6


def test_what_is_the_same_everywhere_is_not_added() -> None:
    assert values(total([worker(1), worker(1)]))["trunkline_calls_limit[]"] == 200


def test_of_the_dead_only_what_counts_stays() -> None:
    kept = {family.name for family in lasting(worker(2))}
    assert kept == {"trunkline_calls", "trunkline_turn"}


def test_the_sum_of_one_is_rendered_as_that_one() -> None:
    one = Metrics()
    one.refused("smartflo", "full")
    figures = one.families()
    assert one.render(total([figures])) == one.render(figures)
    assert b'trunkline_calls_refused_total{carrier="smartflo",reason="full"} 1.0' in one.render(figures)
    assert b"_created" not in one.render()
