"""Race R2: the CPU that one durable step costs, ours on Redis against LangGraph and DBOS on SQLite.

Every measurement is a process of its own with an empty store; rounds go through all rows in turn; a figure is the
median of the rounds. The modes say what a finished step survives, the same on both sides: `everysec` the process
but perhaps not a power cut, `always` both. `--quick` shows that everything runs, and writes nothing down. Nothing
here fails on a slow figure.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from peers.build_env import build_env
from report import describe, machine, measure, median, number, publish, spread, table, target

ROUNDS = 5
CONCURRENCIES = (1, 100)
OURS = "Loopwright + Redis"
TARGET_US = 150.0
TARGET_TRIPS = 1.0
HEADER = (
    "10 durable steps",
    "mode",
    "runs at once",
    "CPU us/step",
    "low-high",
    "server us/step",
    "x ours",
    "wall us/step",
    "scripts/step",
    "round trips/step",
)
Row = tuple[str, str, int]
Samples = Mapping[Row, Sequence[Mapping[str, Any]]]


def main() -> None:
    """Measure, print the table, and write it down unless `--quick`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one round of few runs, to see that all work")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    options = parser.parse_args()
    where = machine()
    samples = collect(rounds=1 if options.quick else options.rounds, quick=options.quick)
    text = render(samples)
    print(f"\n{text}")
    if not options.quick:
        every = [sample for taken in samples.values() for sample in taken]
        publish(
            "durable", f"# CPU per durable step\n\n{describe(where)}\n\n{text}", {"machine": where, "samples": every}
        )


def collect(*, rounds: int, quick: bool) -> dict[Row, list[dict[str, Any]]]:
    """Return all samples by name, mode and concurrency."""
    ours, theirs = Path(sys.executable), build_env()
    chosen = [(ours, "ours_durable", mode) for mode in ("everysec", "always", "always_once")]
    chosen += [
        (theirs, f"peers.durable_{peer}", mode) for peer in ("langgraph", "dbos") for mode in ("everysec", "always")
    ]
    samples: dict[Row, list[dict[str, Any]]] = {}
    for turn in range(1, rounds + 1):
        for python, module, mode in chosen:
            for concurrency in (1, 3) if quick else CONCURRENCIES:
                options = ("--mode", mode, "--concurrency", str(concurrency), *(("--batches", "1") if quick else ()))
                sample = measure(python, module, *options)
                row = (f"{sample['name']} {sample['version']}", mode, concurrency)
                samples.setdefault(row, []).append(sample)
                print(f"{turn}/{rounds} {' '.join(map(str, row))}: {sample['cpu_us_per_step']} us", file=sys.stderr)
    return samples


def render(samples: Samples) -> str:
    """Return the table and how the targets fare."""
    rows = []
    for (name, mode, concurrency), taken in samples.items():
        whole = _whole(taken)
        rows.append(
            (
                name,
                mode,
                str(concurrency),
                number(median(taken, "cpu_us_per_step")),
                spread(taken, "cpu_us_per_step"),
                _optional(taken, "server_us_per_step"),
                number(whole / _whole(_ours(samples, mode, concurrency))),
                number(median(taken, "wall_us_per_step")),
                _optional(taken, "scripts_per_step"),
                _optional(taken, "reads_per_step"),
            )
        )
    note = (
        "`x ours` compares the CPU of client and server together: SQLite runs inside its client. "
        "Wall time is that of one run's step, or of all runs' steps together; it follows the disk.\n"
    )
    return f"{table(HEADER, rows)}\n{note}\n{verdict(samples)}"


def verdict(samples: Samples) -> str:
    """Return our targets with what was reached, one line each."""
    lines = []
    for (name, mode, concurrency), taken in samples.items():
        if not name.startswith(OURS):
            continue
        cost = median(taken, "cpu_us_per_step")
        where = f"{mode}, {concurrency} at once"
        lines.append(
            target(f"client CPU per step, {where}", f"{number(cost)} us", f"<= {TARGET_US:.0f} us", cost <= TARGET_US)
        )
        if concurrency > 1:
            trips = median(taken, "scripts_per_step")
            lines.append(
                target(f"scripts per step, {where}", f"{trips:.2f}", f"<= {TARGET_TRIPS:.0f}", trips <= TARGET_TRIPS)
            )
    return "\n".join(lines) + "\n"


def _ours(samples: Samples, mode: str, concurrency: int) -> Sequence[Mapping[str, Any]]:
    """Return our samples in the same mode."""
    return next(
        taken for (name, *rest), taken in samples.items() if name.startswith(OURS) and rest == [mode, concurrency]
    )


def _whole(taken: Sequence[Mapping[str, Any]]) -> float:
    """Return the CPU of client and server together."""
    return median(taken, "cpu_us_per_step") + (median(taken, "server_us_per_step") if _has_server(taken) else 0.0)


def _has_server(taken: Sequence[Mapping[str, Any]]) -> bool:
    return "server_us_per_step" in taken[0]


def _optional(taken: Sequence[Mapping[str, Any]], key: str) -> str:
    return number(median(taken, key)) if key in taken[0] else "-"


if __name__ == "__main__":
    main()
