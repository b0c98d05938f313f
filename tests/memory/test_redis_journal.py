"""What only the Redis journal has: lost answers, lost connections, lost data, shared connections, retention."""

import asyncio
import os
import random
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from loopwright.errors import Fenced, JournalUnavailable, Misuse, RunBusy, RunExists, RunNotFound, SettingsInvalid
from loopwright.memory.journal.contract import Lease
from loopwright.memory.journal.ids import new_run_id
from loopwright.memory.journal.redis import RedisJournal
from loopwright.memory.journal.wire import Wire, make_pool
from loopwright.planner.events import RunSucceeded
from redis.asyncio import Redis

from ..servers import RedisServer, find, redis_server
from .proxy import LossyProxy
from .support import TTL_S, RedisBackend, claimed, created, eventually, in_loop, step, types_of

DONE = RunSucceeded('"42"')


def calls(server: RedisServer, command: str) -> int:
    """Return how often the server ran a command."""
    found = re.search(rf"cmdstat_{command}:calls=(\d+)", server.command("INFO", "commandstats").decode())
    return int(found[1]) if found else 0


# --- lost answers --------------------------------------------------------------------------------------------


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
        doomed = [asyncio.ensure_future(journal.record(each.run_id)) for each in leases]
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


# --- a server that goes away ---------------------------------------------------------------------------------


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
            await eventually(lambda goal=goal: reached(acknowledged, goal))
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


# --- modes and settings --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("durability", "settings", "names"),
    [
        ("always", {}, ("durability", "appendfsync everysec", "appendfsync always")),
        ("always", {"appendfsync": "always", "no_appendfsync_on_rewrite": "yes"}, ("no-appendfsync-on-rewrite",)),
        ("everysec", {"appendonly": "no"}, ("appendonly no", "appendonly yes")),
        ("everysec", {"appendfsync": "no"}, ("appendfsync no",)),
        ("replicated", {}, ("min-replicas-to-write 0", "min-replicas-to-write 1")),
        ("none", {"maxmemory_policy": "allkeys-lru"}, ("allkeys-lru", "noeviction")),
    ],
)
@in_loop
async def test_a_mode_that_the_server_cannot_give_is_refused_with_the_remedy(
    tmp_path: Path, durability: str, settings: dict[str, str], names: tuple[str, ...]
) -> None:
    with redis_server("system", tmp_path, **settings) as server:
        journal = RedisJournal(server.url, durability=durability)
        with pytest.raises(SettingsInvalid) as refused:
            await journal.create(created())
        assert all(each in str(refused.value) for each in names), str(refused.value)
        assert server.command("DBSIZE") == b":0\r\n"
        await journal.aclose()


@in_loop
async def test_a_server_that_forbids_config_is_used_on_the_operators_word(one_server: RedisServer) -> None:
    one_server.command("ACL", "SETUSER", "limited", "on", ">secret", "~*", "&*", "+@all", "-config")
    url = one_server.url.replace("unix://", "unix://limited:secret@")
    journal = RedisJournal(url, durability="always")
    facts = await journal.connect()
    assert "appendfsync" in facts.notes[0]
    assert facts.settings["appendonly"] == "yes"
    await claimed(journal)
    await journal.aclose()
    wrong = RedisJournal(url.replace("secret", "guess"))
    with pytest.raises(SettingsInvalid, match="password"):
        await wrong.connect()
    await wrong.aclose()


@in_loop
async def test_unreachable_and_misspelt_servers_are_told_apart(tmp_path: Path) -> None:
    journal = RedisJournal(f"unix://{tmp_path}/nothing.sock", timeout_s=0.2)
    with pytest.raises(JournalUnavailable):
        await journal.connect()
    await journal.aclose()
    with pytest.raises(SettingsInvalid):
        RedisJournal("http://localhost")
    with pytest.raises(SettingsInvalid):
        RedisJournal("redis://localhost", durability="sometimes")
    with pytest.raises(Misuse):
        _ = RedisJournal("redis://localhost").facts


@in_loop
async def test_replicated_waits_for_a_replica(tmp_path: Path, free_port: int) -> None:
    settings = {"port": str(free_port), "bind": "127.0.0.1", "min_replicas_to_write": "1"}
    settings["repl_diskless_sync_delay"] = "0"
    with redis_server("system", tmp_path / "primary", **settings) as primary:
        replica = RedisServer(find("system"), tmp_path / "replica", replicaof=f"127.0.0.1 {free_port}")
        replica.start()
        try:
            await eventually(lambda: online(primary))
            journal = RedisJournal(primary.url, durability="replicated", timeout_s=1.0, patience_s=1.0)
            lease = (await claimed(journal)).lease
            journal.append(lease, step(1))
            await journal.barrier(lease, durable=True)
            waits = calls(primary, "wait")
            assert waits >= 1
            journal.append(lease, step(2))
            await journal.barrier(lease)
            assert calls(primary, "wait") == waits
            await journal.barrier(lease, durable=True)
            assert calls(primary, "wait") == waits + 1, "written before without waiting: waited for now"
            await journal.barrier(lease, durable=True)
            assert calls(primary, "wait") == waits + 1
            replica.kill()
            journal.append(lease, step(3))
            with pytest.raises(JournalUnavailable):
                await journal.barrier(lease, durable=True)
            await journal.aclose()
        finally:
            replica.close()


async def online(primary: RedisServer) -> bool:
    """Say whether the primary's replica is in step."""
    return b"state=online" in primary.command("INFO", "replication")


# --- shared connections, round trips, keys -------------------------------------------------------------------


@in_loop
async def test_any_number_of_runs_and_followers_shares_three_connections(server: RedisServer) -> None:
    before = server.command("CLIENT", "LIST").count(b"id=")
    journal = RedisJournal(server.url)
    leases = [(await claimed(journal, f"many-{n % 11}")).lease for n in range(150)]
    following = [asyncio.ensure_future(last_of(journal, each.run_id)) for each in leases]
    await asyncio.sleep(0.1)
    for each in leases:
        journal.append(each, step(1))
    await asyncio.gather(*(journal.barrier(each) for each in leases))
    assert server.command("CLIENT", "LIST").count(b"id=") - before <= 3
    for each in leases:
        journal.append(each, DONE)
    async with asyncio.timeout(20):
        assert set(await asyncio.gather(*following)) == {"run.succeeded"}
    await journal.aclose()


async def last_of(journal: RedisJournal, run_id: str) -> str:
    """Follow a run to its end; return the type of the last event."""
    last = ""
    async for each in journal.follow(run_id):
        last = each.event.type
    return last


@in_loop
async def test_a_step_costs_a_tenth_of_a_script_call_at_a_hundred_runs(server: RedisServer) -> None:
    journal = RedisJournal(server.url)
    leases = [(await claimed(journal)).lease for _ in range(100)]
    before = calls(server, "evalsha")

    async def drive(lease: Lease) -> None:
        for number in range(1, 21):
            journal.append(lease, step(number))
            await journal.barrier(lease, durable=True)

    await asyncio.gather(*(drive(each) for each in leases))
    assert (calls(server, "evalsha") - before) / (100 * 20) < 0.1
    await journal.aclose()


@in_loop
async def test_every_key_carries_the_tag_of_its_tenants_shard(server: RedisServer) -> None:
    server.command("FLUSHALL")
    journal = RedisJournal(server.url)
    lease = (await claimed(journal)).lease
    journal.append(lease, step(1), artifacts={"1.1": "text"})
    await journal.barrier(lease)
    tag = f"{{s{lease.run_id[:2]}}}"
    run = f"{tag}:run:{lease.run_id}"
    names = set(server.command("KEYS", "*").decode().split("\r\n")[2:-1:2])
    assert names == {run, f"{run}:j", f"{run}:a", f"{tag}:due", f"{tag}:runs:acme"}
    with pytest.raises(Misuse):
        await journal.create(created("umbrella", run_id=new_run_id("acme")))
    await journal.aclose()


@in_loop
async def test_finished_runs_leave_after_their_retention_and_so_do_their_names(server: RedisServer) -> None:
    server.command("FLUSHALL")
    journal = RedisJournal(server.url, retention_s=0.02)
    living = (await claimed(journal)).lease
    for _ in range(20):
        lease = (await claimed(journal)).lease
        journal.append(lease, DONE, artifacts={"a": "text"})
        await journal.barrier(lease)

    async def gone() -> bool:
        return len(await journal.runs("acme")) == 1

    assert await eventually(gone)
    assert [each.run_id for each in await journal.runs("acme")] == [living.run_id]
    with pytest.raises(RunNotFound):
        await journal.read(lease.run_id)

    async def names_gone() -> bool:
        await journal.create(created())
        listed = int(server.command("ZCARD", f"{{s{living.run_id[:2]}}}:runs:acme")[1:])
        return listed - len(await journal.runs("acme", limit=1000)) <= 3

    assert await eventually(names_gone)
    await journal.aclose()


@in_loop
async def test_a_large_batch_goes_in_parts_and_stays_in_order(one_server: RedisServer) -> None:
    journal = RedisJournal(one_server.url, max_batch_bytes=20_000)
    leases = [(await claimed(journal)).lease for _ in range(20)]
    for each in leases:
        journal.append(each, *(step(number, "x" * 3000) for number in range(1, 6)))
        journal.append(each, DONE, artifacts={"big": "y" * 200_000})
    await asyncio.gather(*(journal.barrier(each) for each in leases))
    for each in leases:
        assert [e.event.type for e in (await journal.read(each.run_id))[2:]] == ["step.decided"] * 5 + ["run.succeeded"]
    await journal.aclose()


@in_loop
async def test_a_claim_by_two_processes_at_once_has_one_winner(one_server: RedisServer) -> None:
    backend = RedisBackend("system", one_server)
    journals = [backend.open() for _ in range(8)]
    for _ in range(20):
        first = created("race")
        await journals[0].create(first)
        claims = [each.claim(first.run_id, "w", ttl_s=TTL_S) for each in journals]
        results = await asyncio.gather(*claims, return_exceptions=True)
        assert sum(not isinstance(each, RunBusy) for each in results) == 1
    for each in journals:
        await each.aclose()


def test_journal_modules_that_everybody_imports_do_not_import_redis() -> None:
    code = (
        "import sys, loopwright.memory.journal.contract, loopwright.memory.journal.in_memory,"
        " loopwright.memory.server, loopwright.memory.journal.ids; sys.exit('redis' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0
