"""The figures of the installation in the text format of Prometheus.

Histograms give quantiles over any window: `histogram_quantile(0.95, rate(loopwright_run_seconds_bucket[5m]))`.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.registry import Collector

from ..memory.backlog import Backlog
from ..memory.metrics import BUCKETS_S, Figures, Labels, Times

MEDIA_TYPE = CONTENT_TYPE_PLAIN_0_0_4

COUNTS = {
    "runs_finished": "Runs that ended, by agent, status and reason.",
    "steps": "Steps decided by the model, by agent.",
    "tokens": "Tokens by agent and kind: prompt, cached, completion.",
    "api_requests": "HTTP requests by method, route and status.",
}
"""Counts whose meaning is known; others are exposed with their name alone."""

TIMES = {
    "model": "Time that a model took for one turn, by agent.",
    "tool": "Time that a tool call took, by tool.",
    "run": "Time from a run's creation to its end, by agent.",
    "pickup": "Time from a run's creation to the first worker that took it.",
    "api": "Time to answer an HTTP request, by method and route.",
}
"""The same for times."""


@dataclass(frozen=True, slots=True)
class Gauges:
    """What is true at this moment: backlog, workers heard of lately, runs they can drive and do drive at once."""

    backlog: Backlog
    workers: int
    slots: int
    busy: int


def render(figures: Figures, gauges: Gauges) -> bytes:
    """Return the figures as text of `MEDIA_TYPE`, which every version of Prometheus reads."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Given([*_gauges(gauges), *_counts(figures), *_times(figures)]))
    return generate_latest(registry)


class _Given(Collector):
    """Hands out families that were made beforehand."""

    def __init__(self, families: list[Metric]) -> None:
        self._families = families

    def describe(self) -> Iterable[Metric]:
        """Return nothing: no name is checked at registration."""
        return ()

    def collect(self) -> Iterable[Metric]:
        """Return the families."""
        return self._families


def _gauges(gauges: Gauges) -> Iterator[Metric]:
    queues = GaugeMetricFamily(
        "loopwright_queue_messages", "Wake-ups that no worker has taken, by queue.", labels=["queue"]
    )
    for queue, length in gauges.backlog.queued.items():
        queues.add_metric([queue], length)
    yield queues
    for name, about, value in (
        ("due_runs", "Runs that are due and that no worker drives.", gauges.backlog.due),
        ("oldest_due_seconds", "For how long the first of them has been due.", gauges.backlog.oldest_s),
        ("workers", "Worker processes heard of lately.", gauges.workers),
        ("slots", "Runs that they can drive at once.", gauges.slots),
        ("busy_slots", "Runs that they drive now.", gauges.busy),
    ):
        yield GaugeMetricFamily(f"loopwright_{name}", about, value=value)


def _counts(figures: Figures) -> Iterator[Metric]:
    for name, series in sorted(figures.counts.items()):
        family = CounterMetricFamily(f"loopwright_{name}", COUNTS.get(name, name), labels=_names(series))
        for labels, value in sorted(series.items()):
            family.add_metric(_values(labels, _names(series)), value)
        yield family


def _times(figures: Figures) -> Iterator[Metric]:
    for name, series in sorted(figures.times.items()):
        family = HistogramMetricFamily(f"loopwright_{name}_seconds", TIMES.get(name, name), labels=_names(series))
        for labels, times in sorted(series.items()):
            family.add_metric(_values(labels, _names(series)), _cumulated(times), times.sum_s)
        yield family


def _cumulated(times: Times) -> list[tuple[str, float]]:
    """Return (upper bound, how many took no longer) for every bucket."""
    total, found = 0.0, []
    for end, count in zip([*(f"{each:g}" for each in BUCKETS_S), "+Inf"], times.buckets, strict=True):
        total += count
        found.append((end, total))
    return found


def _names(series: Iterable[Labels]) -> list[str]:
    return sorted({name for labels in series for name, _ in labels})


def _values(labels: Labels, names: list[str]) -> list[str]:
    known = dict(labels)
    return [known.get(name, "") for name in names]
