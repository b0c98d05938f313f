"""A scheduler in a process of its own, to be killed: `schedule_process.py REDIS_URL DATA_DIR`."""

import asyncio
import sys

import structlog

from loopwright import Agent
from loopwright.agents import Registry
from loopwright.memory.schedules import Schedules
from loopwright.memory.store import open_store
from loopwright.settings import Settings
from loopwright.workers import scheduler


class Bell:
    """Rings for nobody."""

    async def ring(self, run_id: str, priority: str = "normal") -> None:
        """Do nothing: no run is driven here."""


async def main(url: str, data_dir: str) -> None:
    settings = Settings(redis_url=url, data_dir=data_dir)
    async with open_store(settings) as store:
        store.schedules = Schedules(store.client, hold_s=0.5)
        print("ready", flush=True)
        await scheduler.run_scheduler(store, Registry([Agent("clerk", "Answer.")]), Bell(), settings, asyncio.Event())


if __name__ == "__main__":
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))  # nobody reads the pipe after "ready"
    scheduler.TICK_S = 0.05
    asyncio.run(main(sys.argv[1], sys.argv[2]))
