"""Schedulers that are killed in the middle of firing: each moment makes exactly one run."""

import asyncio
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from loopwright.memory.journal.contract import Journal
from loopwright.memory.schedules import Schedules
from loopwright.memory.store import open_store
from loopwright.planner.events import RunCreated
from loopwright.settings import Settings

from ..memory.support import eventually
from ..servers import redis_server

KILLS = 6
PER_ROUND = 30
SCRIPT = Path(__file__).with_name("schedule_process.py")


@contextmanager
def scheduler(url: str, data_dir: Path) -> Iterator[None]:
    """Run a scheduler; it is killed at the end of the block."""
    command = [sys.executable, str(SCRIPT), url, str(data_dir)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "ready\n"
        yield
    finally:
        process.kill()
        process.wait(30)
        process.stdout.close()


def test_each_moment_makes_one_run_though_schedulers_are_killed(tmp_path: Path) -> None:
    with redis_server("system", tmp_path / "redis") as server:
        asyncio.run(storm(server.url, tmp_path))


async def storm(url: str, data_dir: Path) -> None:
    draw = random.Random(7)
    async with open_store(Settings(redis_url=url, data_dir=str(data_dir))) as store:
        moments = {}
        for round_ in range(KILLS):
            names = [f"s{round_}-{index}" for index in range(PER_ROUND)]
            moments |= {name: await past_due(store.schedules, name) for name in names}
            wanted = draw.randint(1, PER_ROUND)
            with scheduler(url, data_dir):
                await eventually(lambda names=names, wanted=wanted: fired(store.schedules, names, wanted))
        with scheduler(url, data_dir), scheduler(url, data_dir):
            await eventually(lambda: fired(store.schedules, list(moments), len(moments)))
        assert await made(store.journal) == Counter({f"schedule:{name}": 1 for name in moments})
        for name, moment in moments.items():
            assert [each.at_ms for each in await store.schedules.history("acme", name)] == [moment]


async def past_due(schedules: Schedules, name: str) -> int:
    """Make a schedule whose moment passed a while ago and comes again in half a year; return that moment."""
    moment = int(time.time() * 1000) - 60_000
    run = {"agent": "clerk", "task": "hello"}
    cron = f"{time.gmtime().tm_min} 0 1 {(time.gmtime().tm_mon + 5) % 12 + 1} *"
    await schedules.create("acme", name, cron=cron, timezone="UTC", enabled=True, run=run, next_ms=moment)
    return moment


async def fired(schedules: Schedules, names: list[str], wanted: int) -> bool:
    """Say whether so many of the schedules have fired."""
    found = [await schedules.get("acme", name) for name in names]
    return sum(each.last_ms is not None for each in found) >= wanted


async def made(journal: Journal) -> Counter[str]:
    """Count the runs of each schedule."""
    found: Counter[str] = Counter()
    before = ""
    while page := await journal.runs("acme", before=before, limit=200):
        for record in page:
            (first,) = await journal.read(record.run_id, limit=1)
            assert isinstance(first.event, RunCreated)
            found[first.event.by] += 1
        before = page[-1].run_id
    return found
