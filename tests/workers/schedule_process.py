"""A scheduler in a process of its own, to be killed: `schedule_process.py REDIS_URL DATA_DIR`."""

import asyncio
import random
import sys

import structlog

from loopwright import Agent
from loopwright.agents import Registry
from loopwright.memory.schedules import Due, Fired, Schedules
from loopwright.memory.store import open_store
from loopwright.settings import Settings
from loopwright.workers import scheduler


class Bell:
    """Rings for nobody."""

    async def ring(self, run_id: str, priority: str = "normal") -> None:
        """Do nothing: no run is driven here."""


class Slow(Schedules):
    """Takes its time between the submission and writing it down, so that kills land there."""

    async def fired(self, due: Due, what: Fired, next_ms: int | None) -> bool:
        """Wait, then write."""
        await asyncio.sleep(random.uniform(0.0, 0.3))
        return await super().fired(due, what, next_ms)


async def main(url: str, data_dir: str) -> None:
    settings = Settings(redis_url=url, data_dir=data_dir)
    async with open_store(settings) as store:
        store.schedules = Slow(store.client, hold_s=0.5)
        print("ready", flush=True)
        await scheduler.run_scheduler(store, Registry([Agent("clerk", "Answer.")]), Bell(), settings, asyncio.Event())


if __name__ == "__main__":
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))  # nobody reads the pipe after "ready"
    scheduler.TICK_S = 0.05
    asyncio.run(main(sys.argv[1], sys.argv[2]))
