"""Measure the CPU of durable steps: the run of `measure`, written to a store that survives the process.

One process measures one subject at one number of concurrent runs and prints one JSON line. The CPU of this process
counts as the client's; what a store in a process of its own spends is reported beside it.
"""

import argparse
import asyncio
import json
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from measure import ANSWER

WARM_UP_BATCHES = 3


@dataclass(frozen=True)
class Store:
    """An open store.

    Attributes:
        run: Do the run of that number, from task to answer.
        counters: Totals of the store's own process, such as `server_us`; empty for a store inside this one.
    """

    run: Callable[[int], Awaitable[str]]
    counters: Callable[[], Mapping[str, float]] = dict


@dataclass(frozen=True)
class DurableSubject:
    """One framework and its store.

    Attributes:
        name: What the table calls it.
        package: Distribution whose version is reported.
        modes: What `--mode` may say, the default first: what a finished step survives, as the store is set up.
        open: Make an empty store in a folder, for runs of so many steps, in a mode.
    """

    name: str
    package: str
    modes: Sequence[str]
    open: Callable[[Path, int, str], AbstractAsyncContextManager[Store]]


def main(subject: DurableSubject, argv: Sequence[str] | None = None) -> None:
    """Measure as the command line says and print one JSON object."""
    parser = argparse.ArgumentParser(description=f"Measure durable steps of {subject.name}.")
    parser.add_argument("--steps", type=int, default=10, help="steps of one run, the answer included")
    parser.add_argument("--concurrency", type=int, default=1, help="runs at the same time")
    parser.add_argument("--mode", choices=subject.modes, default=subject.modes[0])
    parser.add_argument("--batches", type=int, default=0, help="measured batches of runs; 0 fills --budget-s")
    parser.add_argument("--budget-s", type=float, default=2.0, help="seconds to spend when --batches is 0")
    options = parser.parse_args(argv)
    label = {"name": subject.name, "version": version(subject.package) if subject.package else ""}
    print(json.dumps(label | asyncio.run(_measure(subject, options))))


async def _measure(subject: DurableSubject, options: argparse.Namespace) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        async with subject.open(Path(folder), options.steps, options.mode) as store:
            for batch in range(WARM_UP_BATCHES):
                await _run_batch(store, options.concurrency, batch)
            return await _count(store, options)


async def _count(store: Store, options: argparse.Namespace) -> dict[str, Any]:
    before = store.counters()
    cpu_from, wall_from = time.process_time_ns(), time.perf_counter_ns()
    until = time.perf_counter() + options.budget_s
    batches = 0
    while batches < (options.batches or 2) or (not options.batches and time.perf_counter() < until):
        await _run_batch(store, options.concurrency, WARM_UP_BATCHES + batches)
        batches += 1
    cpu_us, wall_us = (time.process_time_ns() - cpu_from) / 1e3, (time.perf_counter_ns() - wall_from) / 1e3
    steps = batches * options.concurrency * options.steps
    spent = {key: round((value - before[key]) / steps, 3) for key, value in store.counters().items()}
    return {
        "mode": options.mode,
        "concurrency": options.concurrency,
        "runs": batches * options.concurrency,
        "cpu_us_per_step": round(cpu_us / steps, 2),
        "wall_us_per_step": round(wall_us / steps, 1),
        **{f"{key}_per_step": value for key, value in spent.items()},
    }


async def _run_batch(store: Store, concurrency: int, batch: int) -> None:
    first = batch * concurrency
    if concurrency == 1:
        answers = [await store.run(first)]
    else:
        answers = await asyncio.gather(*(store.run(first + index) for index in range(concurrency)))
    if any(answer != ANSWER for answer in answers):
        raise SystemExit(f"runs answered {set(answers)!r}")
