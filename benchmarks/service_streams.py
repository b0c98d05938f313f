"""What an idle stream of events costs the API process, and how long it takes an event to reach its client.

Streams are `GET /v1/runs/{id}/events` of runs that nobody drives, as when users keep a tab open. `--subject starlette`
is the usual construction for comparison: FastAPI's EventSourceResponse around a generator that waits.
"""

import argparse
import asyncio
import json
import re
import resource
import statistics
import sys
import time

from service_density import post
from service_world import ROOT, Deployment, Process, deployment

from loopwright.memory.journal.redis import RedisJournal
from loopwright.planner.events import RunSucceeded

RUNS = 100
BATCH = 200


def main() -> None:
    """Measure once and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--subject", choices=("loopwright", "starlette"), default="loopwright")
    parser.add_argument("--streams", type=int, default=10_000)
    options = parser.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with deployment() as where:
        process, port = where.start_api() if options.subject == "loopwright" else start_rival(where)
        report = asyncio.run(hold(where, process, port, options.streams, ours=options.subject == "loopwright"))
    print(json.dumps({"name": options.subject, "streams": options.streams} | report))


def start_rival(where: Deployment) -> tuple[Process, int]:
    """Start the usual construction; return it and its port."""
    command = [sys.executable, str(ROOT / "benchmarks" / "peers" / "service_starlette.py")]
    process = where.start(command, r"Uvicorn running on http://[^:\s]+:(\d+)", {})
    return process, int(process.ready[1])


async def hold(where: Deployment, process: Process, port: int, streams: int, *, ours: bool) -> dict[str, float]:
    """Open streams, let them be idle, and measure; then let every run end and measure how events arrive."""
    paths = [f"/v1/runs/{each}/events" for each in await post(port, "s", RUNS, 0)] if ours else ["/events"]
    warm = [await connect(port, paths[0]) for _ in range(20)]
    await asyncio.sleep(1)
    rss, cpu, links = process.rss_kib(), process.cpu_s(), clients(where)
    held = list(warm)
    for first in range(len(warm), streams, BATCH):
        wanted = range(first, min(first + BATCH, streams))
        held += await asyncio.gather(*(connect(port, paths[number % len(paths)]) for number in wanted))
    opened_cpu = process.cpu_s() - cpu
    await asyncio.sleep(2)
    report = {
        "kib_per_stream": round((process.rss_kib() - rss) / (streams - len(warm)), 2),
        "open_us": round(opened_cpu / (streams - len(warm)) * 1e6),
        "redis_connections_more": clients(where) - links,
        "redis_readers": clients(where, "blocked"),
    }
    cpu, since = process.cpu_s(), time.monotonic()
    await asyncio.sleep(20)
    report["idle_cpu_percent"] = round(100 * (process.cpu_s() - cpu) / (time.monotonic() - since), 1)
    if ours:
        report |= await end_runs(where, process, held, [path.split("/")[3] for path in paths])
    for _, writer in held:
        writer.close()
    return report


async def connect(port: int, path: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Open one stream and read the head of its answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 14)
    writer.write(f"GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\naccept: text/event-stream\r\n\r\n".encode())
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 60)
    if b" 200 " not in head.split(b"\r\n", 1)[0] + b" ":
        raise SystemExit(f"no stream: {head!r}")
    return reader, writer


async def end_runs(
    where: Deployment,
    process: Process,
    held: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]],
    ids: list[str],
) -> dict[str, float]:
    """End one run after another; return how long its event took to each of its streams, and what that cost."""
    journal = RedisJournal(where.env["LOOPWRIGHT_REDIS_URL"])
    taken: list[float] = []

    async def arrival(reader: asyncio.StreamReader, since: float) -> None:
        await reader.readuntil(b"run.succeeded")
        taken.append((time.perf_counter() - since) * 1000)

    cpu = process.cpu_s()
    for index, run_id in enumerate(ids):
        claim = await journal.claim(run_id, "bench", ttl_s=60)
        await asyncio.sleep(0.02)
        since = time.perf_counter()
        journal.append(claim.lease, RunSucceeded('"done"'))
        watching = [reader for number, (reader, _) in enumerate(held) if number >= 20 and number % len(ids) == index]
        await asyncio.gather(journal.barrier(claim.lease), *(arrival(each, since) for each in watching))
    await journal.aclose()
    taken.sort()
    return {
        "event_p50_ms": round(statistics.median(taken), 2),
        "event_p99_ms": round(taken[int(len(taken) * 0.99)], 2),
        "event_us": round((process.cpu_s() - cpu) / (2 * len(taken)) * 1e6),
    }


def clients(where: Deployment, kind: str = "connected") -> int:
    """Return how many connections Redis has, or how many of them wait in it for news."""
    found = re.search(f"{kind}_clients:(\\d+)", where.redis("INFO", "clients").decode())
    return int(found[1]) if found else 0


if __name__ == "__main__":
    main()
