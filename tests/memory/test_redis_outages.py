"""A server that is killed, full, forgetful or gone: what was acknowledged stays, and everyone is told in time."""

import asyncio
import functools
import shutil
from pathlib import Path

import pytest

from loopwright.errors import Fenced, JournalUnavailable, RunExists, RunNotFound
from loopwright.memory.journal.contract import Lease
from loopwright.memory.journal.redis import RedisJournal

from ..servers import RedisServer, redis_server
from .support import DONE, TTL_S, claimed, created, eventually, in_loop, last_of, step, types_of


@in_loop
async def test_kills_of_the_server_lose_nothing_acknowledged_and_double_nothing(tmp_path: Path) -> None:
    with redis_server("system", tmp_path, appendfsync="always") as server:
        journal = RedisJournal(server.url, durability="always", patience_s=60)
        leases = [(await claimed(journal, f"kill-{n}")).lease for n in range(10)]
        acknowledged = dict.fromkeys((each.run_id for each in leases), 0)

        async def drive(lease: Lease) -> None:
            for number in range(1, 61):
                journal.append(lease, step(number))
                await journal.barrier(lease, durable=True)
                acknowledged[lease.run_id] = number

        driving = asyncio.gather(*(drive(each) for each in leases))
        for goal in (10, 25, 40):
            await eventually(functools.partial(reached, acknowledged, goal))
            seen = dict(acknowledged)
            await asyncio.to_thread(server.kill)
            await asyncio.to_thread(server.start)
            for run_id, number in seen.items():
                assert len(await journal.read(run_id)) >= number + 2
        await driving
        for lease in leases:
            assert [each.event for each in (await journal.read(lease.run_id))[2:]] == [step(n) for n in range(1, 61)]
        await journal.aclose()


async def reached(acknowledged: dict[str, int], goal: int) -> bool:
    """Say whether some run has come so far."""
    return max(acknowledged.values()) >= goal


@in_loop
async def test_a_server_that_lost_acknowledged_batches_fences_the_writer(tmp_path: Path) -> None:
    """What `everysec` may do in a crash: going on would leave a hole in the journal, so the run is dropped."""
    with redis_server("system", tmp_path / "data") as server:
        journal = RedisJournal(server.url, patience_s=60)
        lease = (await claimed(journal)).lease
        journal.append(lease, step(1))
        await journal.barrier(lease)
        server.stop()
        shutil.copytree(tmp_path / "data", tmp_path / "old")
        server.start()
        journal.append(lease, step(2))
        await journal.barrier(lease)
        server.kill()
        shutil.rmtree(tmp_path / "data")
        shutil.copytree(tmp_path / "old", tmp_path / "data")
        server.start()
        with pytest.raises(Fenced):
            journal.append(lease, step(3))
            await journal.barrier(lease)
        assert [each.event for each in (await journal.read(lease.run_id))[2:]] == [step(1)]
        server.command("FLUSHALL")
        with pytest.raises(RunNotFound):
            await journal.claim(lease.run_id, "w", ttl_s=1)
        await journal.aclose()


@in_loop
async def test_the_same_epoch_issued_twice_after_a_loss_is_told_apart_by_the_token(one_server: RedisServer) -> None:
    first, second = RedisJournal(one_server.url), RedisJournal(one_server.url)
    event = created("amnesia")
    await first.create(event)
    old = (await first.claim(event.run_id, "w1", ttl_s=TTL_S)).lease
    one_server.command("FLUSHALL")
    await second.create(event)
    new = (await second.claim(event.run_id, "w2", ttl_s=TTL_S)).lease
    assert old.epoch == new.epoch
    with pytest.raises(Fenced):
        first.append(old, step(1))
        await first.barrier(old)
    assert await types_of(second, event.run_id) == ["run.created", "run.claimed"]
    await first.aclose()
    await second.aclose()


@in_loop
async def test_followers_live_through_a_restart_and_are_told_when_their_run_is_gone(tmp_path: Path) -> None:
    with redis_server("system", tmp_path) as server:
        journal = RedisJournal(server.url, patience_s=60)
        kept, lost = (await claimed(journal)).lease, (await claimed(journal)).lease
        watching = asyncio.ensure_future(last_of(journal, kept.run_id))
        forlorn = asyncio.ensure_future(last_of(journal, lost.run_id))
        await asyncio.sleep(0.05)
        server.command("DEL", f"{{s{lost.run_id[:2]}}}:run:{lost.run_id}")
        await asyncio.to_thread(server.stop)
        await asyncio.to_thread(server.start)
        journal.append(kept, step(1), DONE)
        async with asyncio.timeout(20):
            assert await watching == "run.succeeded"
            with pytest.raises(RunNotFound):
                await forlorn
        await journal.aclose()


@in_loop
async def test_when_redis_stays_away_everyone_is_told_in_time(tmp_path: Path) -> None:
    with redis_server("system", tmp_path) as server:
        journal = RedisJournal(server.url, timeout_s=0.3, patience_s=0.5)
        lease = (await claimed(journal)).lease
        news = aiter(journal.follow(lease.run_id))
        await anext(news)
        await anext(news)
        waiting = asyncio.ensure_future(anext(news))
        await asyncio.sleep(0.05)
        server.kill()
        async with asyncio.timeout(10):
            journal.append(lease, step(1))
            with pytest.raises(JournalUnavailable):
                await journal.barrier(lease)
            with pytest.raises(JournalUnavailable):
                journal.append(lease, step(2))
            with pytest.raises(JournalUnavailable):
                await journal.read(lease.run_id)
            with pytest.raises(JournalUnavailable):
                await journal.create(created())
            with pytest.raises(JournalUnavailable):
                await waiting
        server.start()
        back = created("back")

        async def is_back() -> bool:
            try:
                await journal.create(back)
            except RunExists:
                return True
            except JournalUnavailable:
                return False
            return True

        assert await eventually(is_back)
        await journal.aclose()


@in_loop
async def test_a_server_that_forgot_the_scripts_is_taught_again(server: RedisServer) -> None:
    journal = RedisJournal(server.url)
    lease = (await claimed(journal)).lease
    for number in range(1, 4):
        server.command("SCRIPT", "FLUSH")
        journal.append(lease, step(number))
        await journal.barrier(lease)
        server.command("SCRIPT", "FLUSH")
        assert len(await journal.runs("acme", limit=1)) == 1
    assert (await types_of(journal, lease.run_id)).count("step.decided") == 3
    await journal.aclose()


@in_loop
async def test_a_full_server_refuses_whole_batches_until_there_is_room(server: RedisServer) -> None:
    journal = RedisJournal(server.url, patience_s=60)
    short = RedisJournal(server.url, patience_s=0.1, timeout_s=0.1)
    lease, other = (await claimed(journal)).lease, (await claimed(short)).lease
    server.command("CONFIG", "SET", "maxmemory", "1")
    try:
        short.append(other, step(1), artifacts={"a": "text"})
        with pytest.raises(JournalUnavailable, match="maxmemory"):
            await short.barrier(other)
        journal.append(lease, step(1))
        waiting = asyncio.ensure_future(journal.barrier(lease))
        await asyncio.sleep(0.05)
        assert not waiting.done()
    finally:
        server.command("CONFIG", "SET", "maxmemory", "0")
    await waiting
    assert (await types_of(journal, lease.run_id))[2:] == ["step.decided"]
    assert (await types_of(journal, other.run_id))[2:] == []
    assert await short.artifact(other.run_id, "a") is None
    await journal.aclose()
    await short.aclose()


@in_loop
async def test_what_waits_to_be_written_is_bounded(one_server: RedisServer) -> None:
    journal = RedisJournal(one_server.url, max_pending_bytes=10_000)
    lease = (await claimed(journal)).lease
    with pytest.raises(JournalUnavailable, match="10000"):
        for number in range(1, 1000):
            journal.append(lease, step(number, "x" * 500))
    await journal.barrier(lease)
    journal.append(lease, step(1000))
    await journal.barrier(lease)
    await journal.aclose()
