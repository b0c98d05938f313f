"""The outbox on a real server: nothing lost, nothing out of order, nothing handed to two at a time."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from loopwright.errors import JournalUnavailable
from loopwright.memory.client import make_client
from loopwright.memory.journal.ids import new_run_id, shard_of_tenant
from loopwright.memory.journal.redis import RedisJournal
from loopwright.memory.outbox import Delivery, Outbox
from loopwright.planner.events import RunResumed, RunWaiting, WaitReason

from ..servers import RedisServer
from .support import TTL_S, created, eventually, finish, in_loop


@pytest.fixture
def redis(one_server: RedisServer) -> Iterator[RedisServer]:
    one_server.command("FLUSHALL")
    yield one_server


@asynccontextmanager
async def opened(redis: RedisServer, **options: Any) -> AsyncIterator[tuple[Outbox, Any]]:
    client = make_client(redis.url)
    try:
        yield Outbox(client, **options), client
    finally:
        await client.aclose()


async def tell(client: Any, run_id: str, status: str = "succeeded", tenant: str = "acme") -> None:
    """Write what the journal's transition writes."""
    fields = {"run": run_id, "tenant": tenant, "status": status, "reason": "", "url": "https://a.example/", "at": "7"}
    await client.xadd(f"{{s{shard_of_tenant(tenant):02d}}}:outbox", fields)


@in_loop
async def test_an_event_is_handed_out_once_until_it_is_settled(redis: RedisServer) -> None:
    async with opened(redis) as (outbox, client):
        run = new_run_id("acme")
        await tell(client, run)
        (delivery,) = await outbox.take(10)
        assert delivery.id.startswith(f"msg_{run}_")
        assert (delivery.run, delivery.tenant, delivery.status, delivery.url, delivery.at, delivery.attempts) == (
            run, "acme", "succeeded", "https://a.example/", 7, 0,
        )  # fmt: skip
        assert await outbox.take(10) == []
        await outbox.sent(delivery)
        assert await outbox.take(10) == []
        assert await outbox.backlog("acme") == 0


@in_loop
async def test_what_a_dispatcher_had_when_it_died_is_due_again_under_the_same_id(redis: RedisServer) -> None:
    async with opened(redis, hold_s=0.05) as (outbox, client):
        await tell(client, new_run_id("acme"))
        (first,) = await outbox.take(10)
        (second,) = await eventually(lambda: outbox.take(10))
        assert second == first


@in_loop
async def test_the_events_of_a_run_come_one_by_one_in_order(redis: RedisServer) -> None:
    async with opened(redis) as (outbox, client):
        run, other = new_run_id("acme"), new_run_id("acme")
        for status in ("waiting", "waiting", "succeeded"):
            await tell(client, run, status)
        await tell(client, other, "failed")
        seen = []
        while taken := await outbox.take(10):
            assert len({each.run for each in taken}) == len(taken)
            for each in taken:
                seen.append((each.run, each.status))
                await outbox.sent(each)
        assert [status for name, status in seen if name == run] == ["waiting", "waiting", "succeeded"]
        assert [status for name, status in seen if name == other] == ["failed"]


@in_loop
async def test_a_run_tells_its_end_and_when_it_begins_to_wait_for_a_person_and_nothing_else(redis: RedisServer) -> None:
    """Neither waits for tools nor looks at a run whose question is still open."""
    journal = RedisJournal(redis.url)
    looks: list[tuple[WaitReason, ...]] = [
        ("tool",), ("approval",), ("approval",), ("in_doubt", "approval"), ("tool", "in_doubt"),
    ]  # fmt: skip
    async with opened(redis) as (outbox, _):
        run = replace(created(), webhook="https://a.example/")
        await journal.create(run)
        for reasons in looks:
            lease = (await journal.claim(run.run_id, "worker", ttl_s=TTL_S)).lease
            for reason in reasons:
                journal.append(lease, RunResumed(), RunWaiting(reason))
                await journal.barrier(lease)
            await journal.release(lease)
        lease = (await journal.claim(run.run_id, "worker", ttl_s=TTL_S)).lease
        journal.append(lease, RunResumed())
        await finish(journal, lease)
        seen = []
        while taken := await outbox.take(10):
            seen += [(each.status, each.reason) for each in taken]
            await outbox.sent(taken[0])
    await journal.aclose()
    asked = [("waiting", reason) for reason in ("approval", "in_doubt", "approval", "in_doubt")]
    assert seen == [*asked, ("succeeded", "")]


@in_loop
async def test_a_failed_attempt_holds_up_its_own_run_only_and_keeps_the_body(redis: RedisServer) -> None:
    async with opened(redis) as (outbox, client):
        run, other = new_run_id("acme"), new_run_id("acme")
        await tell(client, run, "waiting")
        await tell(client, run, "succeeded")
        (first,) = await outbox.take(10)
        await outbox.retry(first, 0.05, body='{"a":1}', error="status 500")
        await tell(client, other)
        assert [each.run for each in await outbox.take(10)] == [other]
        (again,) = await eventually(lambda: outbox.take(10))
        assert (again.id, again.attempts, again.body, again.error) == (first.id, 1, '{"a":1}', "status 500")


@in_loop
async def test_one_that_comes_late_settles_nothing_that_others_have_settled(redis: RedisServer) -> None:
    """A dispatcher that was stopped wakes up with a delivery that somebody else has sent meanwhile."""
    async with opened(redis) as (outbox, client):
        run = new_run_id("acme")
        for status in ("waiting", "succeeded"):
            await tell(client, run, status)
        (stale,) = await outbox.take(10)
        await outbox.retry(stale, 0.0, body="{}", error="x")
        (again,) = await outbox.take(10)
        for late in (outbox.sent(stale), outbox.retry(stale, 9.0, body="{}", error="x")):
            await late
        await outbox.sent(again)
        await outbox.bury(stale, body="{}", error="x")
        await outbox.sent(again)
        assert [each.status for each in await outbox.take(10)] == ["succeeded"]
        assert await outbox.dead_letters("acme") == []


@in_loop
async def test_what_is_given_up_can_be_listed_by_its_tenant_alone(redis: RedisServer) -> None:
    async with opened(redis) as (outbox, client):
        runs = [new_run_id("acme") for _ in range(3)]
        for run in runs:
            await tell(client, run)
            await tell(client, run, "failed")
            (delivery,) = await outbox.take(10)
            await outbox.bury(delivery, body="{}", error="status 500")
            (following,) = await outbox.take(10)
            assert following.status == "failed"
            await outbox.sent(following)
        dead = await outbox.dead_letters("acme")
        assert [(each.run, each.error, each.attempts) for each in dead] == [(r, "status 500", 1) for r in runs[::-1]]
        assert [each.run for each in await outbox.dead_letters("acme", 1)] == [runs[-1]]
        assert await outbox.dead_letters("other") == []


@in_loop
async def test_nothing_more_is_sent_for_a_run_whose_receiver_is_gone(redis: RedisServer) -> None:
    async with opened(redis) as (outbox, client):
        run, other = new_run_id("acme"), new_run_id("acme")
        await tell(client, run, "waiting")
        await tell(client, run, "waiting")
        (delivery,) = await outbox.take(10)
        await outbox.disable(delivery, body="{}", error="status 410")
        await tell(client, run, "succeeded")
        await tell(client, other)
        assert [each.run for each in await outbox.take(10)] == [other]
        assert [each.id for each in await outbox.dead_letters("acme")] == [delivery.id]


@in_loop
async def test_many_dispatchers_share_the_work_without_overlap(redis: RedisServer) -> None:
    async with opened(redis) as (outbox, client), opened(redis) as (second, _):
        tenants = [f"tenant-{index}" for index in range(20)]
        for tenant in tenants:
            for _ in range(10):
                await tell(client, new_run_id(tenant), tenant=tenant)
        seen: list[Delivery] = []

        async def work(box: Outbox) -> None:
            while taken := await box.take(3):
                seen.extend(taken)
                for each in taken:
                    await box.sent(each)

        await asyncio.gather(work(outbox), work(second), work(outbox))
        assert len(seen) == 200
        assert len({each.id for each in seen}) == 200


@in_loop
async def test_a_server_that_forgot_its_scripts_is_taught_again(redis: RedisServer) -> None:
    async with opened(redis) as (outbox, client):
        for command in ("SCRIPT FLUSH", "PING"):
            redis.command(command)
            await tell(client, new_run_id("acme"))
            (delivery,) = await outbox.take(10)
            redis.command(command)
            await outbox.sent(delivery)


def test_without_redis_the_outbox_says_so(redis: RedisServer) -> None:
    async def ask() -> None:
        async with opened(redis) as (outbox, client):
            client.connection_pool.connection_kwargs["path"] = "/nowhere/redis.sock"
            with pytest.raises(JournalUnavailable):
                await outbox.take(10)

    asyncio.run(ask())
