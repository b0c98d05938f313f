"""Races R3, R4, R5 and R13: what the service costs around its runs, each process measured by itself.

Every sample is a deployment of its own: Redis, API, workers and a simulated model server are started for it and ended
with it. Rounds go through all rows in turn; a figure is the median of the rounds. Overhead is CPU time, latency is
wall time. The usual construction (FastAPI and plain Celery, FastAPI's event streams) stands beside ours where it does
the same thing. `--quick` shows that everything runs, and writes nothing down. Nothing here fails on a slow figure.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from report import describe, machine, measure, median, number, publish, spread, table, target

ROUNDS = 5
ANCHOR = 25.0
"""Runs per second and CPU that LangGraph Server's sizing guide plans with; published, not measured here."""

Samples = Mapping[str, Sequence[Mapping[str, Any]]]
Rows = dict[str, tuple[str, tuple[str, ...]]]

ROWS: Rows = {
    "accept loopwright": ("service_accept", ()),
    "accept celery": ("service_accept", ("--subject", "celery", "--runs", "3000")),
    "pickup loopwright": ("service_pickup", ()),
    "pickup celery": ("service_pickup", ("--subject", "celery")),
    "density 500": ("service_density", ("--runs", "500")),
    "density 2000": ("service_density", ("--runs", "2000")),
    "scale 1": ("service_density", ("--runs", "100", "--workers", "1", "--slots", "50", "--delay-s", "0.25")),
    "scale 2": ("service_density", ("--runs", "200", "--workers", "2", "--slots", "50", "--delay-s", "0.25")),
    "scale 4": ("service_density", ("--runs", "400", "--workers", "4", "--slots", "50", "--delay-s", "0.25")),
    "streams loopwright": ("service_streams", ()),
    "streams starlette": ("service_streams", ("--subject", "starlette")),
}
QUICK: Rows = {
    "accept loopwright": ("service_accept", ("--runs", "400")),
    "accept celery": ("service_accept", ("--subject", "celery", "--runs", "200")),
    "pickup loopwright": ("service_pickup", ("--runs", "40")),
    "pickup celery": ("service_pickup", ("--subject", "celery", "--runs", "40")),
    "density 500": ("service_density", ("--runs", "50", "--delay-s", "0.2")),
    "density 2000": ("service_density", ("--runs", "100", "--delay-s", "0.2")),
    "scale 1": ("service_density", ("--runs", "20", "--workers", "1", "--slots", "10", "--delay-s", "0.1")),
    "scale 2": ("service_density", ("--runs", "40", "--workers", "2", "--slots", "10", "--delay-s", "0.1")),
    "scale 4": ("service_density", ("--runs", "80", "--workers", "4", "--slots", "10", "--delay-s", "0.1")),
    "streams loopwright": ("service_streams", ("--streams", "400")),
    "streams starlette": ("service_streams", ("--subject", "starlette", "--streams", "400")),
}


def main() -> None:
    """Measure, print the tables, and write them down unless `--quick`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one small round, to see that all work")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--only", default="", help="rows whose names begin so")
    options = parser.parse_args()
    where = machine()
    rows = {name: row for name, row in (QUICK if options.quick else ROWS).items() if name.startswith(options.only)}
    samples = collect(rows, 1 if options.quick else options.rounds)
    text = render(samples)
    print(f"\n{text}")
    if not options.quick and not options.only:
        publish("service", f"# The service\n\n{describe(where)}\n\n{text}", {"machine": where, "samples": samples})


def collect(rows: Rows, rounds: int) -> dict[str, list[dict[str, Any]]]:
    """Return all samples by row."""
    samples: dict[str, list[dict[str, Any]]] = {}
    for turn in range(1, rounds + 1):
        for name, (module, options) in rows.items():
            sample = measure(Path(sys.executable), module, *options)
            samples.setdefault(name, []).append(sample)
            print(f"{turn}/{rounds} {name}: {sample}", file=sys.stderr)
    return samples


def render(samples: Samples) -> str:
    """Return one table per question, and how the targets fare."""
    parts = [part(samples) for part in (_accepting, _pickup, _density, _scaling, _streaming)]
    return "\n".join(part for part in parts if part)


def _rows(samples: Samples, kind: str) -> dict[str, Sequence[Mapping[str, Any]]]:
    return {name.partition(" ")[2]: taken for name, taken in samples.items() if name.startswith(f"{kind} ")}


def _table(rows: Mapping[str, Sequence[Mapping[str, Any]]], first: str, columns: Mapping[str, str], wide: str) -> str:
    header = [first, *columns.values(), f"low-high of {columns[wide]}"]
    lines = [
        [name, *(number(median(taken, key)) if key in taken[0] else "-" for key in columns), spread(taken, wide)]
        for name, taken in rows.items()
    ]
    return table(header, lines)


def _accepting(samples: Samples) -> str:
    rows = _rows(samples, "accept")
    if not rows:
        return ""
    columns = {
        "accepted_per_cpu_s": "runs per CPU s of the API", "api_us_per_run": "API us/run",
        "redis_us_per_run": "Redis us/run", "accepted_per_wall_s": "runs per s", "rss_mib": "RSS MiB",
    }  # fmt: skip
    text = f"## Accepting runs\n\n{_table(rows, 'POST /v1/runs, 64 connections', columns, 'accepted_per_cpu_s')}\n"
    if "loopwright" in rows:
        rate = median(rows["loopwright"], "accepted_per_cpu_s")
        text += target("runs accepted per CPU second", number(rate), ">= 600", rate >= 600)
        text += (
            f"\n- LangGraph Server's sizing guide plans {ANCHOR:g} per CPU second (published): {rate / ANCHOR:.0f} x\n"
        )
    return text


def _pickup(samples: Samples) -> str:
    rows = _rows(samples, "pickup")
    if not rows:
        return ""
    columns = {"p50_ms": "p50 ms", "p99_ms": "p99 ms", "max_ms": "max ms"}
    text = f"## From POST to the model server\n\n{_table(rows, 'start of POST to first byte', columns, 'p50_ms')}\n"
    if "loopwright" in rows:
        for key, most in (("p50_ms", 3.0), ("p99_ms", 10.0)):
            value = median(rows["loopwright"], key)
            text += target(columns[key], f"{value:.1f} ms", f"<= {most:g} ms", value <= most) + "\n"
    return text


def _density(samples: Samples) -> str:
    rows = _rows(samples, "density")
    if not rows:
        return ""
    columns = {
        "efficiency": "efficiency", "wall_s": "wall s", "ideal_s": "ideal s", "last_claim_ms": "last claim ms",
        "run_median_s": "median run s", "kib_per_run": "KiB/run", "worker_us_per_step": "worker us/step",
        "redis_us_per_step": "Redis us/step", "model_us_per_step": "model server us/step",
    }  # fmt: skip
    text = f"## Runs in one worker process\n\n{_table(rows, 'runs at once, 10 steps', columns, 'efficiency')}\n"
    for name, least in (("500", 0.97), ("2000", 0.90)):
        if name in rows:
            value, kib = median(rows[name], "efficiency"), median(rows[name], "kib_per_run")
            text += target(f"efficiency at {name} runs", f"{value:.3f}", f">= {least:g}", value >= least) + "\n"
            text += target(f"memory of a waiting run at {name}", f"{kib:.1f} KiB", "<= 64 KiB", kib <= 64) + "\n"
    return text


def _scaling(samples: Samples) -> str:
    rows = _rows(samples, "scale")
    if not rows:
        return ""
    columns = {"steps_per_s": "steps/s", "efficiency": "efficiency", "worker_us_per_step": "worker us/step"}
    text = f"## More workers\n\n{_table(rows, 'worker processes, 50 slots each', columns, 'steps_per_s')}\n"
    if "1" in rows:
        one = median(rows["1"], "steps_per_s")
        for count in (each for each in ("2", "4") if each in rows):
            share = median(rows[count], "steps_per_s") / one / int(count)
            text += target(f"{count} workers against {count} times one", f"{share:.2f}", ">= 0.90", share >= 0.9) + "\n"
    return text


def _streaming(samples: Samples) -> str:
    rows = _rows(samples, "streams")
    if not rows:
        return ""
    columns = {
        "kib_per_stream": "KiB/stream", "open_us": "CPU us to open", "idle_cpu_percent": "CPU % of one core, idle",
        "event_p50_ms": "event p50 ms", "event_p99_ms": "event p99 ms", "event_us": "CPU us/event",
        "redis_connections_more": "more Redis connections", "redis_readers": "Redis readers",
    }  # fmt: skip
    text = f"## Idle streams of events\n\n{_table(rows, '10,000 streams, one process', columns, 'kib_per_stream')}\n"
    if "loopwright" in rows:
        kib = median(rows["loopwright"], "kib_per_stream")
        readers = median(rows["loopwright"], "redis_readers")
        text += target("memory of an idle stream", f"{kib:.1f} KiB", "<= 16 KiB", kib <= 16) + "\n"
        text += target("readers that wait in Redis", f"{readers:.0f}", "one for all streams", readers == 1) + "\n"
    return text


if __name__ == "__main__":
    main()
