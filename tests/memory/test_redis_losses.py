"""Answers that get lost, tries that run late, callers that give up: nothing is doubled, nothing misread."""

import asyncio
import os
import random
import signal
from typing import Any

import pytest
from redis.asyncio import Redis

from loopwright.memory.journal.contract import Lease
from loopwright.memory.journal.redis import RedisJournal
from loopwright.memory.journal.wire import Wire, make_pool

from ..servers import RedisServer
from .proxy import LossyProxy
from .support import DONE, TTL_S, claimed, created, in_loop, step, types_of


@in_loop
async def test_a_batch_whose_answer_was_lost_is_not_appended_twice(server: RedisServer) -> None:
    async with LossyProxy(server) as proxy:
        journal = RedisJournal(proxy.url)
        lease = (await claimed(journal)).lease
        for number in range(1, 6):
            proxy.lose_answers = 2
            journal.append(lease, step(number), artifacts={str(number): "text"})
            await journal.barrier(lease, durable=True)
        proxy.lose_answers = 1
        journal.append(lease, DONE)
        await journal.barrier(lease)
        assert proxy.lost == 11
        events = [each.event for each in await journal.read(lease.run_id)]
        assert events[2:] == [*(step(number) for number in range(1, 6)), DONE]
        await journal.aclose()


@in_loop
async def test_every_transition_survives_a_lost_answer(server: RedisServer) -> None:
    async with LossyProxy(server) as proxy:
        journal = RedisJournal(proxy.url)
        await journal.connect()
        first = created("lossy")
        proxy.lose_answers = 1
        await journal.create(first)
        proxy.lose_answers = 1
        lease = (await journal.claim(first.run_id, "w", ttl_s=TTL_S)).lease
        assert lease.epoch == 1
        assert await types_of(journal, first.run_id) == ["run.created", "run.claimed"]
        for awaited in (
            journal.renew(lease, ttl_s=TTL_S),
            journal.request_cancel(first.run_id, "stop"),
            journal.release(lease),
        ):
            proxy.lose_answers = 1
            await awaited
        assert (await journal.claim(first.run_id, "w", ttl_s=TTL_S)).lease.epoch == 2
        assert proxy.lost == 5
        await journal.aclose()


@in_loop
async def test_random_losses_under_load_neither_lose_nor_double_nor_reorder(one_server: RedisServer) -> None:
    chance = random.Random(7)
    async with LossyProxy(one_server) as proxy:
        journal = RedisJournal(proxy.url)
        leases = [(await claimed(journal, f"load-{n % 5}")).lease for n in range(30)]

        async def drive(lease: Lease) -> None:
            for number in range(1, 21):
                if chance.random() < 0.05:
                    proxy.lose_answers = 1
                journal.append(lease, step(number))
                await journal.barrier(lease)

        await asyncio.gather(*(drive(each) for each in leases))
        assert proxy.lost > 5
        for lease in leases:
            assert [each.event for each in (await journal.read(lease.run_id))[2:]] == [step(n) for n in range(1, 21)]
        await journal.aclose()


@in_loop
async def test_a_stalled_server_that_runs_the_first_try_late_doubles_nothing(one_server: RedisServer) -> None:
    """Both tries reach the server: the first waits in the old connection's buffer while the server is stopped."""
    journal = RedisJournal(one_server.url, timeout_s=0.2)
    lease = (await claimed(journal)).lease
    os.kill(one_server.pid, signal.SIGSTOP)
    try:
        journal.append(lease, step(1))
        waiting = asyncio.ensure_future(journal.barrier(lease))
        await asyncio.sleep(0.7)
        assert not waiting.done()
    finally:
        os.kill(one_server.pid, signal.SIGCONT)
    await waiting
    journal.append(lease, step(2))
    await journal.barrier(lease)
    assert [each.event for each in (await journal.read(lease.run_id))[2:]] == [step(1), step(2)]
    await journal.aclose()


@in_loop
async def test_cancelled_callers_never_get_anothers_answer(one_server: RedisServer) -> None:
    """redis-py once handed the unread reply of a cancelled command to the next one (CVE-2023-28858)."""
    chance = random.Random(3)
    journal = RedisJournal(one_server.url)
    leases = [(await claimed(journal, f"cancel-{n}")).lease for n in range(8)]
    for _ in range(200):
        lease = chance.choice(leases)
        doomed: list[asyncio.Future[Any]] = [asyncio.ensure_future(journal.record(each.run_id)) for each in leases]
        doomed.append(asyncio.ensure_future(journal.renew(lease, ttl_s=TTL_S)))
        await asyncio.sleep(chance.random() * 0.001)
        for each in doomed:
            each.cancel()
        assert (await journal.record(lease.run_id)).run_id == lease.run_id
        await asyncio.gather(*doomed, return_exceptions=True)
    for number, lease in enumerate(leases):
        assert (await journal.record(lease.run_id)).tenant == f"cancel-{number}"
    await journal.aclose()


@in_loop
async def test_a_cancelled_exchange_is_always_cancelled(one_server: RedisServer) -> None:
    """redis-py 8.1 swallows a cancellation that meets it while it connects; a pipe could then never be closed."""
    chance = random.Random(5)
    for _ in range(100):
        wire = Wire(make_pool(one_server.url, 1.0))
        task = asyncio.ensure_future(wire.exchange([("PING",)] * 20))
        for _ in range(chance.randrange(1, 12)):
            await asyncio.sleep(0)
        if not task.done():
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        assert await wire.exchange([("ECHO", "mine")]) == [b"mine"]
        await wire.drop()


@in_loop
async def test_a_client_can_be_given_instead_of_an_address(one_server: RedisServer) -> None:
    client = Redis.from_url(one_server.url, decode_responses=True)
    journal = RedisJournal(client)
    assert (await claimed(journal)).lease.epoch == 1
    await journal.aclose()
    await client.aclose()
