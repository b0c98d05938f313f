"""The schedules on a real server: kept per tenant, handed out once, taken over when a process dies."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from loopwright.errors import ScheduleExists, ScheduleInvalid, ScheduleNotFound
from loopwright.memory import schedules as module
from loopwright.memory.client import make_client
from loopwright.memory.schedules import Fired, ScheduleRecord, Schedules

from ..servers import RedisServer
from .support import eventually, in_loop

FAR = 4_000_000_000_000
RUN = {"agent": "clerk", "task": "hello"}


@pytest.fixture
def redis(one_server: RedisServer) -> Iterator[RedisServer]:
    one_server.command("FLUSHALL")
    yield one_server


@asynccontextmanager
async def opened(redis: RedisServer, **options: Any) -> AsyncIterator[Schedules]:
    client = make_client(redis.url)
    try:
        yield Schedules(client, **options)
    finally:
        await client.aclose()


async def make(schedules: Schedules, name: str | None = "s1", tenant: str = "acme", **more: Any) -> ScheduleRecord:
    fields = {"cron": "* * * * *", "timezone": "UTC", "enabled": True, "run": RUN, "next_ms": 1_000, **more}
    return await schedules.create(tenant, name, **fields)


async def alter(schedules: Schedules, had: ScheduleRecord, **more: Any) -> ScheduleRecord | None:
    names = ("cron", "timezone", "enabled", "run", "next_ms")
    return await schedules.change("acme", had, **({name: getattr(had, name) for name in names} | more))


@in_loop
async def test_a_schedule_is_kept_listed_and_deleted_within_its_tenant(redis: RedisServer) -> None:
    async with opened(redis) as schedules:
        made = [await make(schedules, f"s{index}", next_ms=FAR) for index in range(5)]
        other = await make(schedules, "s1", tenant="other", cron="0 0 * * *")
        assert await schedules.get("acme", "s1") == made[1]
        assert (made[1].run, made[1].next_ms, made[1].version, made[1].last_ms) == (RUN, FAR, 1, None)
        assert (await schedules.get("other", "s1")).cron == other.cron == "0 0 * * *"
        first = await schedules.list("acme", limit=2)
        rest = await schedules.list("acme", before=first[-1].id, limit=9)
        assert {each.id for each in (*first, *rest)} == {"s0", "s1", "s2", "s3", "s4"}
        assert len(first) + len(rest) == 5
        await schedules.delete("acme", "s1")
        assert (await schedules.get("other", "s1")).id == "s1"
        for call in (schedules.get("acme", "s1"), schedules.delete("acme", "s1"), schedules.history("acme", "s1")):
            with pytest.raises(ScheduleNotFound):
                await call
        assert await schedules.list("acme", before="s1") == []


@in_loop
async def test_an_id_is_taken_once_but_a_repeated_request_finds_what_it_made(redis: RedisServer) -> None:
    async with opened(redis) as schedules:
        made = await make(schedules, nonce="n1")
        assert await make(schedules, nonce="n1") == made
        with pytest.raises(ScheduleExists):
            await make(schedules, nonce="n2")
        assert (await make(schedules, None)).id != (await make(schedules, None)).id


@in_loop
async def test_a_tenant_has_a_bounded_number_of_schedules(redis: RedisServer) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "MAX_SCHEDULES", 2)
        async with opened(redis) as schedules:
            await make(schedules, "a")
            await make(schedules, "b")
            with pytest.raises(ScheduleInvalid, match="2 schedules already"):
                await make(schedules, "c")
            await make(schedules, "c", tenant="other")


@in_loop
async def test_a_moment_that_has_come_is_handed_out_once_and_then_the_next_one_counts(redis: RedisServer) -> None:
    async with opened(redis) as schedules:
        await make(schedules)
        await make(schedules, "later", next_ms=FAR)
        await make(schedules, "off", enabled=False, next_ms=None)
        (due,) = await schedules.due()
        assert (due.tenant, due.id, due.moment_ms, due.run) == ("acme", "s1", 1_000, RUN)
        assert await schedules.due() == []
        assert await schedules.fired(due, Fired(1_000, run_id="r1"), FAR)
        assert not await schedules.fired(due, Fired(1_000, run_id="r1"), FAR)
        now = await schedules.get("acme", "s1")
        assert (now.next_ms, now.last_ms, now.last_run) == (FAR, 1_000, "r1")
        assert await schedules.history("acme", "s1") == [Fired(1_000, run_id="r1")]
        assert await schedules.due() == []


@in_loop
async def test_whoever_takes_a_firing_over_has_the_same_moment_and_request(redis: RedisServer) -> None:
    """Also when the schedule was changed meanwhile; the change counts from the next moment on."""
    async with opened(redis, hold_s=0.05) as schedules:
        had = await make(schedules)
        (first,) = await schedules.due()
        await alter(schedules, had, run={"agent": "clerk", "task": "changed"}, next_ms=FAR)
        (second,) = await eventually(schedules.due)
        assert (second.moment_ms, second.run) == (first.moment_ms, first.run)
        assert await schedules.fired(second, Fired(1_000, run_id="r1"), 5)
        now = await schedules.get("acme", "s1")
        assert (now.next_ms, now.run["task"]) == (FAR, "changed")
        assert await schedules.due() == []


@in_loop
async def test_a_change_on_top_of_another_is_not_taken(redis: RedisServer) -> None:
    async with opened(redis) as schedules:
        had = await make(schedules, next_ms=FAR)
        changed = await alter(schedules, had, enabled=False, next_ms=None)
        assert changed is not None and (changed.version, changed.enabled, changed.next_ms) == (2, False, None)
        assert await alter(schedules, had, cron="0 0 * * *") is None
        again = await alter(schedules, changed, enabled=True, next_ms=1_000)
        assert again is not None
        assert [each.id for each in await schedules.due()] == ["s1"]


@in_loop
async def test_a_schedule_deleted_or_switched_off_while_it_fires_does_not_come_back(redis: RedisServer) -> None:
    async with opened(redis) as schedules:
        had = await make(schedules, "off")
        await make(schedules, "gone")
        taken = {each.id: each for each in await schedules.due()}
        await alter(schedules, had, enabled=False, next_ms=None)
        await schedules.delete("acme", "gone")
        assert await schedules.fired(taken["off"], Fired(1_000, run_id="r1"), 2_000)
        assert not await schedules.fired(taken["gone"], Fired(1_000, run_id="r2"), 2_000)
        assert await schedules.due() == []
        assert [each.id for each in await schedules.list("acme")] == ["off"]
        await schedules.triggered("acme", "gone", Fired(1, run_id="r3"))
        with pytest.raises(ScheduleNotFound):
            await schedules.get("acme", "gone")


@in_loop
async def test_the_history_keeps_the_last_hundred(redis: RedisServer) -> None:
    async with opened(redis) as schedules:
        await make(schedules)
        for index in range(105):
            await schedules.triggered("acme", "s1", Fired(index, problem="no agent", manual=True))
        found = await schedules.history("acme", "s1")
        assert [each.at_ms for each in found] == list(range(104, 4, -1))
        assert found[0] == Fired(104, problem="no agent", manual=True)
        assert len(await schedules.history("acme", "s1", 3)) == 3
