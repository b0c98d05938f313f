"""Figures of the whole installation: counted in each process, added up in Redis, read by `GET /metrics`.

`count` and `observe` only add to a dictionary; every few seconds `flush` sends what came together as one pipeline of
HINCRBYFLOAT into the hash `lw:metrics`, so figures survive the processes that counted them and cost a run nothing.
A field is a JSON list: name, labels, and for times the upper bound of the bucket, or `sum`.

Figures are not the journal: what a killed process had not flushed is gone, and what was sent when an answer got lost
may be counted twice.
"""

import asyncio
import json
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import structlog
from redis.asyncio import Redis

from ..errors import LoopwrightError
from .client import translated

HASH = "lw:metrics"

BUCKETS_S = (
    0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 60.0, 120.0, 300.0, 600.0,
    1800.0, 3600.0,
)  # fmt: skip
"""Upper bounds of the buckets of every time, in seconds; behind the last one is one without a bound."""

MAX_SERIES = 500
"""Sets of labels that one process counts per name; further ones are counted together, with `other` as every label."""

MAX_LABEL = 100
"""Longest label, in characters; longer ones are cut."""

FLUSH_EVERY_S = 2.0

Labels = tuple[tuple[str, str], ...]
_Place = tuple[str, Labels, str]
_ENDS = (*(f"{each:g}" for each in BUCKETS_S), "inf")
_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Times:
    """How long something took, over all that were observed.

    Attributes:
        buckets: How many fell into each bucket of `BUCKETS_S`, and at the end those that took longer.
        sum_s: All of them together, in seconds.
    """

    buckets: list[float] = field(default_factory=lambda: [0.0] * len(_ENDS))
    sum_s: float = 0.0


@dataclass(slots=True)
class Figures:
    """Everything that was counted and observed, by name and labels."""

    counts: dict[str, dict[Labels, float]] = field(default_factory=lambda: defaultdict(dict))
    times: dict[str, dict[Labels, Times]] = field(default_factory=lambda: defaultdict(lambda: defaultdict(Times)))


class Metrics:
    """Counts and observes; see above.

    Args:
        client: Redis.
        max_series: Sets of labels that are told apart per name.
    """

    def __init__(self, client: Redis, *, max_series: int = MAX_SERIES) -> None:
        self._client: Any = client
        self._max_series = max_series
        self._buffer: dict[_Place, float] = {}
        self._series: dict[str, dict[Labels, Labels]] = defaultdict(dict)
        self._flushing = asyncio.Lock()

    def count(self, name: str, value: float = 1, /, **labels: str) -> None:
        """Add to a count. Names and labels come from a small set: never a run, a task or a tenant's text."""
        self._add((name, self._labels(name, labels), ""), value)

    def observe(self, name: str, seconds: float, /, **labels: str) -> None:
        """Note how long something took."""
        known = self._labels(name, labels)
        self._add((name, known, _ENDS[bisect_left(BUCKETS_S, seconds)]), 1)
        self._add((name, known, "sum"), seconds)

    async def flush(self) -> None:
        """Send what came together since the last time.

        Raises:
            JournalUnavailable: Redis gave no answer; the figures stay here and leave with the next flush.
        """
        async with self._flushing:
            batch, self._buffer = self._buffer, {}
            if not batch:
                return
            try:
                async with translated(), self._client.pipeline(transaction=True) as pipe:
                    for place, value in batch.items():
                        pipe.hincrbyfloat(HASH, _field(place), value)
                    await pipe.execute()
            except BaseException:
                for place, value in batch.items():
                    self._add(place, value)
                raise

    async def run(self, *, every_s: float = FLUSH_EVERY_S) -> None:
        """Flush every few seconds until cancelled, and once more then. An outage of Redis only delays figures."""
        try:
            while True:
                await asyncio.sleep(every_s)
                await self._try_to_flush()
        finally:
            await self._try_to_flush()

    async def read(self) -> Figures:
        """Return the figures of all processes, as far as they were flushed.

        Raises:
            JournalUnavailable: Redis gave no answer.
        """
        async with translated():
            raw = await self._client.hgetall(HASH)
        return figures_of(raw)

    async def _try_to_flush(self) -> None:
        try:
            await self.flush()
        except LoopwrightError as exc:
            _log.warning("metrics_not_flushed", problem=str(exc))

    def _add(self, place: _Place, value: float) -> None:
        self._buffer[place] = self._buffer.get(place, 0.0) + value

    def _labels(self, name: str, labels: dict[str, str]) -> Labels:
        given = tuple(sorted(labels.items()))
        series = self._series[name]
        known = series.get(given)
        if known is None:
            if len(series) >= self._max_series:
                return tuple((label, "other") for label, _ in given)
            known = series[given] = tuple((label, str(value)[:MAX_LABEL]) for label, value in given)
        return known


def figures_of(raw: Mapping[bytes, bytes]) -> Figures:
    """Return what the hash in Redis says. Fields that this version cannot read are left out."""
    figures = Figures()
    for name, value in raw.items():
        place = _place(name)
        if place is None:
            continue
        what, labels, part = place
        if not part:
            figures.counts[what][labels] = float(value)
        elif part == "sum":
            figures.times[what][labels].sum_s = float(value)
        else:
            index = min(bisect_left(BUCKETS_S, float(part)), len(BUCKETS_S))
            figures.times[what][labels].buckets[index] += float(value)
    return figures


def _field(place: _Place) -> str:
    name, labels, part = place
    return json.dumps([name, dict(labels), part] if part else [name, dict(labels)], separators=(",", ":"))


def _place(text: bytes) -> _Place | None:
    try:
        name, labels, *rest = json.loads(text)
        part = rest[0] if rest else ""
        if part not in ("", "sum"):
            float(part)
        return str(name), tuple(sorted((str(each), str(value)) for each, value in labels.items())), part
    except (ValueError, TypeError, AttributeError):
        return None
