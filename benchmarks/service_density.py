"""How many runs worker processes hold at once: N runs of ten steps, each step a second (or so) of a simulated model.

All runs are posted while the workers are stopped, then the workers go on: `wall_s` is from there to the end of the
last run, `ideal_s` what the model alone would take. The memory of a waiting run is the growth of the workers' resident
memory, looked at half way, over their memory after a warm-up.
"""

import argparse
import asyncio
import json
import os
import signal
import statistics
import time
from typing import Any

from service_world import Deployment, Process, RawClient, deployment, run_body

from loopwright.memory.journal.contract import Stored
from loopwright.memory.journal.redis import RedisJournal
from loopwright.planner.events import RunClaimed

CALLS = 9
CONNECTIONS = 32
PATIENCE_S = 400.0


def main() -> None:
    """Measure once and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=500)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--slots", type=int, default=0, help="per worker; 0: as many as there are runs")
    parser.add_argument("--delay-s", type=float, default=1.0)
    options = parser.parse_args()
    with deployment(options.delay_s) as where:
        _, port = where.start_api()
        slots = options.slots or options.runs
        workers = [where.start_worker(slots) for _ in range(options.workers)]
        asyncio.run(drive(where, port, workers, "w", 8 * options.workers, 1))
        report = asyncio.run(drive(where, port, workers, "m", options.runs, CALLS))
    turns = -(-options.runs // (slots * options.workers))
    ideal_s = turns * (CALLS + 1) * options.delay_s
    report |= {"workers": options.workers, "slots": slots, "ideal_s": ideal_s}
    report["efficiency"] = round(ideal_s / report["wall_s"], 3)
    report["steps_per_s"] = round(options.runs * (CALLS + 1) / report["wall_s"])
    print(json.dumps(report))


async def drive(
    where: Deployment, port: int, workers: list[Process], name: str, runs: int, calls: int
) -> dict[str, Any]:
    """Let workers do so many runs from a standing start; return what it took."""
    rss = sum(each.rss_kib() for each in workers)
    for each in workers:
        os.kill(each.pid, signal.SIGSTOP)
    ids = await post(port, name, runs, calls)
    before = {each.pid: each.cpu_s() for each in workers}
    redis, model = where.redis_cpu_s(), where.model.cpu_s()
    since_ms = time.time() * 1000
    for each in workers:
        os.kill(each.pid, signal.SIGCONT)
    peak = await ended(where, workers, ids)
    journals = await read(where, ids)
    last_ms = max(stored[-1].at_ms for stored in journals)
    steps = runs * (calls + 1)
    return {
        "runs": runs,
        "wall_s": round((last_ms - since_ms) / 1000, 3),
        "first_claim_ms": round(min(map(claimed_ms, journals)) - since_ms),
        "last_claim_ms": round(max(map(claimed_ms, journals)) - since_ms),
        "run_median_s": round(statistics.median(each[-1].at_ms - claimed_ms(each) for each in journals) / 1000, 3),
        "kib_per_run": round((peak - rss) / runs, 1),
        "worker_us_per_step": round(sum(each.cpu_s() - before[each.pid] for each in workers) / steps * 1e6),
        "redis_us_per_step": round((where.redis_cpu_s() - redis) / steps * 1e6),
        "model_us_per_step": round((where.model.cpu_s() - model) / steps * 1e6),
    }


async def post(port: int, name: str, runs: int, calls: int) -> list[str]:
    """Post runs; return their ids."""
    numbers, ids = iter(range(runs)), []

    async def some() -> None:
        client = await RawClient.open(port)
        for number in numbers:
            status, body = await client.post("/v1/runs", run_body(f"{name}{number}", calls))
            if status != 202:
                raise SystemExit(f"not accepted: {status} {body[:300]!r}")
            ids.append(json.loads(body)["id"])
        client.close()

    async with asyncio.TaskGroup() as group:
        for _ in range(CONNECTIONS):
            group.create_task(some())
    return ids


async def ended(where: Deployment, workers: list[Process], ids: list[str]) -> int:
    """Wait until every run is final; return the most memory that the workers had meanwhile, in KiB."""
    journal = RedisJournal(where.env["LOOPWRIGHT_REDIS_URL"])
    peak, waiting = 0, list(ids)
    deadline = time.monotonic() + PATIENCE_S
    while waiting:
        if time.monotonic() > deadline:
            raise SystemExit(f"{len(waiting)} runs did not end")
        await asyncio.sleep(1)
        peak = max(peak, sum(each.rss_kib() for each in workers))
        while waiting and (await journal.record(waiting[-1])).status in ("succeeded", "failed"):
            if (await journal.record(waiting.pop())).status == "failed":
                raise SystemExit("a run failed")
    await journal.aclose()
    return peak


async def read(where: Deployment, ids: list[str]) -> list[list[Stored]]:
    """Return all journals."""
    journal = RedisJournal(where.env["LOOPWRIGHT_REDIS_URL"])
    found = [await journal.read(each) for each in ids]
    await journal.aclose()
    return found


def claimed_ms(stored: list[Stored]) -> int:
    """Return when a run was first claimed."""
    return next(each.at_ms for each in stored if isinstance(each.event, RunClaimed))


if __name__ == "__main__":
    main()
