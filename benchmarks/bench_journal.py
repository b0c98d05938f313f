"""What one durable step costs on Redis: group commit against one pipeline per run.

    python benchmarks/bench_journal.py [--runs 100] [--steps 100] [--repeats 5]

A step is three events (decided, intended, finished) with a durable barrier before the tool would be sent. Both
contenders write the same bytes. CPU time is this process's; the server's own is shown beside it. Script calls per
step come from INFO commandstats, so they carry no noise.
"""

import argparse
import asyncio
import gc
import random
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

from redis.asyncio import Redis

from loopwright.memory.journal.ids import new_run_id
from loopwright.memory.journal.in_memory import InMemoryJournal
from loopwright.memory.journal.redis import RedisJournal
from loopwright.planner.events import CallFinished, CallIntended, RunCreated, StepDecided, ToolCall, encode
from loopwright.tests.servers import RedisServer, find

THOUGHT = '{"thought":"' + "t" * 120 + '","calls":[{"tool":"rate","arguments":{"base":"EUR","quote":"USD"}}]}'


def events_of(step: int) -> tuple[StepDecided, CallIntended, CallFinished]:
    """Return the events of one step, about 600 bytes as JSON."""
    call = ToolCall(f"{step}.1", "rate", '{"base":"EUR","quote":"USD"}')
    return (
        StepDecided(step, THOUGHT, (call,)),
        CallIntended(call.id, call.tool, "keyed", f"run/{call.id}"),
        CallFinished(call.id, call.tool, "1.0842"),
    )


async def with_journal(journal: RedisJournal | InMemoryJournal, runs: int, steps: int, latency_s: float) -> None:
    """Drive `runs` runs at once through the journal."""

    async def drive() -> None:
        run_id = new_run_id("bench")
        await journal.create(RunCreated(run_id, "bench", "agent", "hash", "task"))
        lease = (await journal.claim(run_id, "worker", ttl_s=60)).lease
        for step in range(1, steps + 1):
            decided, intended, finished = events_of(step)
            journal.append(lease, decided, intended)
            await journal.barrier(lease, durable=True)
            journal.append(lease, finished)
            if latency_s:
                await asyncio.sleep(random.expovariate(1 / latency_s))
        await journal.barrier(lease)

    await asyncio.gather(*(drive() for _ in range(runs)))


async def with_pipelines(url: str, runs: int, steps: int, latency_s: float) -> None:
    """Drive the runs with one pipeline of plain commands per run and barrier, unfenced."""
    client = Redis.from_url(url)

    async def drive(number: int) -> None:
        key, stream = f"plain:{number}", f"plain:{number}:j"
        held: list[bytes] = []
        for step in range(1, steps + 1):
            decided, intended, finished = events_of(step)
            pipe = client.pipeline(transaction=False)
            for each in (*held, encode(decided), encode(intended)):
                pipe.xadd(stream, {"e": each})
            pipe.hset(key, mapping={"step": step, "updated": time.time_ns()})
            await pipe.execute()
            held = [encode(finished)]
            if latency_s:
                await asyncio.sleep(random.expovariate(1 / latency_s))
        await client.xadd(stream, {"e": held[0]})

    await asyncio.gather(*(drive(number) for number in range(runs)))
    await client.aclose()


async def measure(work: Callable[[], Awaitable[None]], steps: int) -> tuple[float, float]:
    """Return microseconds of our CPU per step, and of wall time."""
    gc.collect()
    cpu, wall = time.process_time(), time.perf_counter()
    await work()
    return (time.process_time() - cpu) / steps * 1e6, (time.perf_counter() - wall) / steps * 1e6


async def server_use(client: "Redis") -> tuple[int, int, float]:
    """Return script calls, all commands and CPU seconds of the server so far."""
    stats, cpu = await client.info("commandstats"), await client.info("cpu")
    calls = {name: int(entry["calls"]) for name, entry in stats.items()}
    scripts = calls.get("cmdstat_evalsha", 0)
    return scripts, sum(calls.values()), cpu["used_cpu_user"] + cpu["used_cpu_sys"]


async def contest(url: str, name: str, runs: int, steps: int, latency_s: float, repeats: int) -> None:
    """Run both contenders alternately and print the medians."""
    client = Redis.from_url(url)
    rows: dict[str, list[tuple[float, ...]]] = {"group commit": [], "pipeline per run": []}
    for _ in range(repeats):
        for kind, row in rows.items():
            before = await server_use(client)
            if kind == "group commit":
                journal = RedisJournal(url, durability="none")
                await journal.connect()
                cost = await measure(partial(with_journal, journal, runs, steps, latency_s), runs * steps)
                await journal.aclose()
            else:
                cost = await measure(partial(with_pipelines, url, runs, steps, latency_s), runs * steps)
            after = await server_use(client)
            each = [(b - a) / (runs * steps) for a, b in zip(before, after, strict=True)]
            row.append((*cost, each[0], each[2] * 1e6))
            await client.flushall()
    for kind, row in rows.items():
        ours, wall, scripts, theirs = (statistics.median(column) for column in zip(*row, strict=True))
        print(f"{name:22} {kind:17} {ours:8.1f} {theirs:10.1f} {wall:8.1f} {scripts:12.3f}")
    await client.aclose()


async def in_memory(runs: int, steps: int, repeats: int) -> None:
    """Print the same figures for the journal in memory."""
    costs = [
        await measure(lambda: with_journal(InMemoryJournal(), runs, steps, 0), runs * steps) for _ in range(repeats)
    ]
    ours, wall = (statistics.median(column) for column in zip(*costs, strict=True))
    print(f"{'in memory':22} {'':17} {ours:8.1f} {0:10.1f} {wall:8.1f} {0:12.3f}")


def main() -> None:
    """Start the servers and print one line per contender and mode."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, default in (("runs", 100), ("steps", 100), ("repeats", 5)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--latency-ms", type=float, default=20.0, help="mean of the model's time in the second contest")
    args = parser.parse_args()
    print(f"{args.runs} runs at once, {args.steps} steps each, 3 events per step; medians of {args.repeats}")
    print(f"{'':22} {'':17} {'CPU us':>8} {'server us':>10} {'wall us':>8} {'scripts/step':>12}")
    asyncio.run(in_memory(args.runs, args.steps, args.repeats))
    for mode in ("everysec", "always"):
        with tempfile.TemporaryDirectory() as folder:
            server = RedisServer(find("system"), Path(folder), appendfsync=mode)
            server.start()
            try:
                shape = (args.runs, args.steps)
                asyncio.run(contest(server.url, f"{mode}, no model time", *shape, 0, args.repeats))
                latency_s = args.latency_ms / 1000
                asyncio.run(
                    contest(server.url, f"{mode}, model {args.latency_ms:g} ms", *shape, latency_s, args.repeats)
                )
            finally:
                server.close()


if __name__ == "__main__":
    main()
