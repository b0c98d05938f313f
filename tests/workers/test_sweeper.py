"""The sweeper on a real journal: what it rings for, and what it leaves alone."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from loopwright.memory.client import make_client
from loopwright.memory.journal.ids import new_run_id
from loopwright.memory.journal.redis import RedisJournal
from loopwright.planner.events import RunCreated, RunSucceeded
from loopwright.workers.doorbell import Doorbell, backlog
from loopwright.workers.sweeper import Sweeper

from ..memory.support import eventually, in_loop
from ..servers import RedisServer


class Scene:
    """A sweeper with a free number of slots that the test sets."""

    def __init__(self, url: str) -> None:
        self.client = make_client(url)
        self.journal = RedisJournal(url)
        self.doorbell = Doorbell(self.client)
        self.free = 100
        self.sweeper = Sweeper(self.journal, self.client, self.doorbell, free=lambda: self.free, every_s=0.02)

    async def due(self, number: int, tenant: str = "acme") -> list[str]:
        """Create runs that are due now."""
        run_ids = [new_run_id(tenant) for _ in range(number)]
        for run_id in run_ids:
            await self.journal.create(RunCreated(run_id, tenant, "clerk", "h", "t"))
        return run_ids

    async def sweep(self) -> int:
        """Sweep once and wait for the rings."""
        number = await self.sweeper.sweep()
        await self.doorbell.aclose()
        return number


@asynccontextmanager
async def scene(red: RedisServer) -> AsyncIterator[Scene]:
    opened = Scene(red.url)
    try:
        yield opened
    finally:
        await opened.doorbell.aclose()
        await opened.journal.aclose()
        await opened.client.aclose()


@in_loop
async def test_due_runs_are_rung_for_once_and_then_hidden_for_a_while(red: RedisServer) -> None:
    async with scene(red) as here:
        await here.due(5)
        assert await here.sweep() == 5
        assert await backlog(here.client) == 5
        assert await here.sweep() == 0


@in_loop
async def test_nothing_is_rung_for_that_would_only_make_a_long_queue_longer(red: RedisServer) -> None:
    async with scene(red) as here:
        await here.due(50)
        here.free = 20
        assert await here.sweep() == 20
        assert await here.sweep() == 0
        assert await backlog(here.client) == 20


@in_loop
async def test_a_full_worker_does_not_sweep(red: RedisServer) -> None:
    async with scene(red) as here:
        await here.due(3)
        here.free = 0
        assert await here.sweep() == 0
        here.free = 1
        assert await here.sweep() == 1


@in_loop
async def test_a_finished_run_is_never_listed_again_however_often_everybody_sweeps(red: RedisServer) -> None:
    async with scene(red) as here:
        run_ids = await here.due(20)
        claims = [await here.journal.claim(run_id, "w", ttl_s=15) for run_id in run_ids]
        sweeping = [asyncio.create_task(here.sweeper.run()) for _ in range(3)]
        for claim in claims:
            here.journal.append(claim.lease, RunSucceeded('"1"'))
            await here.journal.barrier(claim.lease)
            await here.journal.release(claim.lease, due_in_s=0)
        await asyncio.sleep(0.2)
        for task in sweeping:
            task.cancel()
        await asyncio.gather(*sweeping, return_exceptions=True)
        assert await backlog(here.client) == 0
        assert await here.journal.due() == []
        assert b":0" in red.command("EXISTS", "{s40}:due")


@in_loop
async def test_a_sweeper_outlives_redis(tmp_path: object) -> None:
    from ..servers import find

    server = RedisServer(find("system"), tmp_path)  # type: ignore[arg-type]
    server.start()
    try:
        async with scene(server) as here:
            sweeping = asyncio.create_task(here.sweeper.run())
            await here.due(1)

            async def rung() -> bool:
                return await backlog(here.client) == 1

            await eventually(rung)
            server.stop()
            await asyncio.sleep(0.3)
            server.start()
            await here.due(1)

            async def rung_again() -> bool:
                return await backlog(here.client) == 2

            await eventually(rung_again)
            sweeping.cancel()
            await asyncio.gather(sweeping, return_exceptions=True)
    finally:
        server.close()
