"""Journals to test, each with the few outside powers a test needs: another process, a passing lease, a clock."""

import asyncio
import functools
import re
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, ParamSpec

from loopwright.memory.journal.contract import Claim, Journal, Lease
from loopwright.memory.journal.ids import new_run_id, shard_of
from loopwright.memory.journal.in_memory import InMemoryJournal
from loopwright.memory.journal.redis import RedisJournal
from loopwright.planner.events import RunCreated, RunSucceeded, StepDecided

from ..servers import RedisServer

P = ParamSpec("P")
PATIENCE_S = 20.0
DONE = RunSucceeded('"42"')
TTL_S = 600.0
"""A lease that no test outlives; tests that need one to end use `Backend.expire`."""


def in_loop(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Run an async test in a loop of its own."""

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        asyncio.run(test(*args, **kwargs))

    return run


async def eventually(holds: Callable[[], Awaitable[Any]]) -> Any:
    """Return the first true value of `holds()`; fail when there is none in time."""
    async with asyncio.timeout(PATIENCE_S):
        while not (value := await holds()):
            await asyncio.sleep(0.005)
    return value


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now_s = 1_800_000_000.0

    def __call__(self) -> float:
        self.now_s += 0.000_5
        return self.now_s


class Backend:
    """A store that survives journals: each `open` stands for another process."""

    name = "memory"

    def __init__(self) -> None:
        self.clock = Clock()
        self._journal = InMemoryJournal(clock=self.clock)

    def open(self, **_: Any) -> Journal:
        """Return a journal on the store."""
        return self._journal

    def expire(self, lease: Lease) -> None:
        """Let the lease run out."""
        self.clock.now_s += TTL_S + 1

    def sweep_again(self) -> None:
        """Let the time pass for which `due` hides a run."""
        self.clock.now_s += 6


class RedisBackend(Backend):
    """A real server; leases run out by setting their end back, because its clock is not ours."""

    def __init__(self, name: str, server: RedisServer) -> None:
        self.name = name
        self.server = server

    def open(self, **options: Any) -> RedisJournal:
        """Return a journal with connections of its own."""
        return RedisJournal(self.server.url, **options)

    def expire(self, lease: Lease) -> None:
        """Let the lease run out."""
        tag = f"{{s{shard_of(lease.run_id):02d}}}"
        self.server.command("HSET", f"{tag}:run:{lease.run_id}", "lease_end", "1")
        self.server.command("ZADD", f"{tag}:due", "1", lease.run_id)

    def sweep_again(self) -> None:
        """Let the time pass for which `due` hides a run."""
        for shard in range(64):
            key = f"{{s{shard:02d}}}:due"
            reply = self.server.command("ZRANGE", key, "0", "-1").decode().split("\r\n")
            for name in reply[2::2]:
                self.server.command("ZADD", key, "XX", "1", name)


def created(tenant: str = "acme", agent: str = "clerk", run_id: str | None = None) -> RunCreated:
    """Return the first event of a new run."""
    return RunCreated(run_id or new_run_id(tenant), tenant, agent, "hash", {"question": "how many?"})


def step(number: int, text: str = "thinking") -> StepDecided:
    """Return one decided step."""
    return StepDecided(number, text)


async def claimed(journal: Journal, tenant: str = "acme") -> Claim:
    """Create a run and take its lease."""
    first = created(tenant)
    await journal.create(first)
    return await journal.claim(first.run_id, "worker-1", ttl_s=TTL_S)


async def types_of(journal: Journal, run_id: str) -> list[str]:
    """Return the types of the run's events, in order."""
    return [each.event.type for each in await journal.read(run_id)]


async def finish(journal: Journal, lease: Lease) -> None:
    """End a run."""
    journal.append(lease, DONE)
    await journal.barrier(lease, durable=True)


async def last_of(journal: Journal, run_id: str) -> str:
    """Follow a run to its end; return the type of the last event."""
    last = ""
    async for each in journal.follow(run_id):
        last = each.event.type
    return last


def calls(server: RedisServer, command: str) -> int:
    """Return how often the server ran a command."""
    found = re.search(rf"cmdstat_{command}:calls=(\d+)", server.command("INFO", "commandstats").decode())
    return int(found[1]) if found else 0
