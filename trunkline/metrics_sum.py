"""Figures as values, so that those of several workers can be added. Pure, but for reading a registry.

Counters and histograms of workers that are gone are kept (`lasting`): a scrape's counters never go down.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec

# The same in every worker, or not a quantity that adds up: the largest stands for all.
LARGEST = frozenset(
    (
        "process_max_fds",
        "process_start_time_seconds",
        "python_info",
        "trunkline_build_info",
        "trunkline_calls_limit",
        "trunkline_ready",
        "trunkline_tls_certificate_left_seconds",
    )
)


class Sample(msgspec.Struct, frozen=True, array_like=True):
    """One number."""

    name: str
    labels: dict[str, str]
    value: float


class Family(msgspec.Struct, frozen=True, array_like=True):
    """One figure with all its samples; `kind`: counter, gauge, histogram, …"""

    name: str
    help: str
    kind: str
    samples: list[Sample]


def families(metrics: Iterable[Any]) -> list[Family]:
    """What a prometheus registry collects, less the `_created` samples."""
    return [
        Family(
            metric.name,
            metric.documentation,
            metric.type,
            [
                Sample(sample.name, dict(sample.labels), float(sample.value))
                for sample in metric.samples
                if not sample.name.endswith("_created")
            ],
        )
        for metric in metrics
    ]


def lasting(figures: Sequence[Family]) -> list[Family]:
    """What of a worker's figures outlives it."""
    return [family for family in figures if family.kind in ("counter", "histogram", "summary")]


def total(parts: Iterable[Sequence[Family]]) -> list[Family]:
    """The figures of several as those of one, in order of first appearance."""
    found: dict[str, tuple[Family, dict[tuple[str, tuple[tuple[str, str], ...]], Sample]]] = {}
    for family in (family for part in parts for family in part):
        _, sums = found.setdefault(family.name, (family, {}))
        for sample in family.samples:
            key = (sample.name, tuple(sorted(sample.labels.items())))
            sums[key] = _joined(family, sums[key], sample) if key in sums else sample
    return [Family(one.name, one.help, one.kind, list(sums.values())) for one, sums in found.values()]


def _joined(family: Family, first: Sample, second: Sample) -> Sample:
    largest = family.name in LARGEST
    value = max(first.value, second.value) if largest else first.value + second.value
    return Sample(first.name, first.labels, value)


def counter(name: str, help_: str, values: Iterable[tuple[dict[str, str], float]]) -> Family:
    """A counter `trunkline_{name}` of one's own."""
    samples = [Sample(f"trunkline_{name}_total", labels, value) for labels, value in values]
    return Family(f"trunkline_{name}", help_, "counter", samples)


def gauge(name: str, help_: str, values: Iterable[tuple[dict[str, str], float]]) -> Family:
    """A gauge `trunkline_{name}` of one's own."""
    return Family(f"trunkline_{name}", help_, "gauge", [Sample(f"trunkline_{name}", *value) for value in values])


class Shown:
    """Families as something that prometheus_client renders."""

    def __init__(self, figures: Sequence[Family]) -> None:
        self._figures = figures

    def collect(self) -> Iterator[Any]:
        """The families as its own type."""
        from prometheus_client import Metric  # the supervisor adds figures and never renders them

        for family in self._figures:
            metric = Metric(family.name, family.help, family.kind)
            for sample in family.samples:
                metric.add_sample(sample.name, sample.labels, sample.value)
            yield metric
