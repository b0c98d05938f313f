"""A server that takes no writes: full, read-only, without replicas. New runs are refused at once, none half-made."""

import asyncio
import os
import signal
import time
from collections.abc import Awaitable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from loopwright.errors import JournalUnavailable, StoreFull
from loopwright.memory.client import make_client, translated
from loopwright.memory.journal.contract import Idempotency
from loopwright.memory.journal.redis import RedisJournal
from loopwright.memory.journal.room import share_of
from loopwright.memory.threads import Threads

from ..servers import KINDS, Kind, RedisServer, find, redis_server
from .support import TTL_S, claimed, created, eventually, finish, in_loop, step
from .test_redis_settings import online

QUICK_S = 2.0
"""Half of what the journal waits for a server that is away."""


async def refusal_of(work: Awaitable[Any]) -> Exception:
    """Return the error, which must come at once."""
    began = time.monotonic()
    with pytest.raises((StoreFull, JournalUnavailable)) as refused:
        await work
    assert time.monotonic() - began < QUICK_S
    return refused.value


def used(server: RedisServer) -> int:
    info = server.command("INFO", "memory").decode()
    return int(info.partition("used_memory:")[2].split()[0])


def keys(server: RedisServer) -> bytes:
    return server.command("DBSIZE")


@in_loop
async def test_a_nearly_full_server_takes_no_new_runs_but_lets_those_that_run_go_on(one_server: RedisServer) -> None:
    one_server.command("FLUSHALL")
    journal = RedisJournal(one_server.url)
    lease = (await claimed(journal)).lease
    assert await journal.room() is None, "nothing bounds it"
    try:
        one_server.command("CONFIG", "SET", "maxmemory", str(int(used(one_server) / 0.95)))
        await asyncio.sleep(1.1)  # the figure is believed for a second
        before = keys(one_server)
        error = await refusal_of(journal.create(created()))
        assert isinstance(error, StoreFull) and error.retryable and "maxmemory" in str(error)
        assert 0.9 < (await journal.room() or 0) < 1
        assert keys(one_server) == before
        journal.append(lease, step(1))
        await journal.barrier(lease, durable=True)
        child = replace(created(), parent_run=lease.run_id)
        assert (await journal.create(child)).is_new, "a child belongs to a run that runs"
        await finish(journal, lease)
        one_server.command("CONFIG", "SET", "maxmemory", str(used(one_server) * 4))

        async def taken() -> bool:
            try:
                return (await journal.create(created())).is_new
            except StoreFull:
                return False

        assert await eventually(taken)
    finally:
        one_server.command("CONFIG", "SET", "maxmemory", "0")
        await journal.aclose()


@pytest.mark.parametrize("kind", KINDS)
@in_loop
async def test_a_full_server_refuses_a_run_whole_and_writers_wait_for_room(tmp_path: Path, kind: Kind) -> None:
    with redis_server(kind, tmp_path) as server:
        journal = RedisJournal(server.url)
        lease = (await claimed(journal)).lease
        await journal.room()  # believed for a second: the server's own refusal is met, not ours
        before = keys(server)
        server.command("CONFIG", "SET", "maxmemory", "1")
        error = await refusal_of(journal.create(created(), idempotency=Idempotency("k", "f")))
        assert isinstance(error, StoreFull), error
        assert keys(server) == before
        client = make_client(server.url)
        with pytest.raises(StoreFull):
            await Threads(client).create("acme", "t1")
        with pytest.raises(StoreFull):
            async with translated():
                await client.set("x", "y")
        await client.aclose()
        journal.append(lease, step(1))
        waiting = asyncio.ensure_future(journal.barrier(lease, durable=True))
        await asyncio.sleep(0.3)
        assert not waiting.done()
        server.command("CONFIG", "SET", "maxmemory", "0")
        await waiting
        assert (await journal.record(lease.run_id)).step == 1
        await journal.aclose()


@pytest.mark.parametrize("kind", KINDS)
@in_loop
async def test_a_read_only_server_refuses_at_once_and_still_reads(tmp_path: Path, kind: Kind) -> None:
    with redis_server(kind, tmp_path) as server:
        journal = RedisJournal(server.url)
        lease = (await claimed(journal)).lease
        before = keys(server)
        server.command("REPLICAOF", "127.0.0.1", "1")
        for work in (journal.create(created()), journal.request_cancel(lease.run_id, "stop")):
            error = await refusal_of(work)
            assert isinstance(error, JournalUnavailable) and error.retryable
            assert "writes" in str(error)
        assert keys(server) == before
        client = make_client(server.url)
        assert isinstance(await refusal_of(Threads(client).create("acme")), JournalUnavailable)
        await client.aclose()
        assert (await journal.record(lease.run_id)).status == "running"
        server.command("REPLICAOF", "NO", "ONE")
        assert (await journal.create(created())).is_new
        await journal.aclose()


@in_loop
async def test_a_server_without_its_replicas_refuses_at_once(tmp_path: Path) -> None:
    with redis_server("system", tmp_path, min_replicas_to_write="1") as server:
        journal = RedisJournal(server.url, durability="replicated", timeout_s=1.0)
        error = await refusal_of(journal.create(created()))
        assert "NOREPLICAS" in str(error)
        assert keys(server) == b":0\r\n"
        await journal.aclose()


@in_loop
async def test_replicated_accepts_a_run_only_when_a_replica_has_it(tmp_path: Path, free_port: int) -> None:
    """Redis believes in a replica for ten seconds after it went silent; an accepted run must not rest on that."""
    settings = {"port": str(free_port), "bind": "127.0.0.1", "min_replicas_to_write": "1"}
    settings["repl_diskless_sync_delay"] = "0"
    with redis_server("system", tmp_path / "primary", **settings) as primary:
        replica = RedisServer(find("system"), tmp_path / "replica", replicaof=f"127.0.0.1 {free_port}")
        replica.start()
        try:
            await eventually(lambda: online(primary))
            journal = RedisJournal(primary.url, durability="replicated", timeout_s=1.0, patience_s=1.0)
            made = await journal.create(created(), idempotency=Idempotency("k", "f"))
            assert b"PONG" in replica.command("PING")
            assert replica.command("EXISTS", f"{{s{made.run_id[:2]}}}:run:{made.run_id}") == b":1\r\n"
            os.kill(replica.pid, signal.SIGSTOP)
            for work in (
                journal.create(created()),
                journal.create(created(), idempotency=Idempotency("k", "f")),
                journal.request_cancel(made.run_id, "stop"),
            ):
                with pytest.raises(JournalUnavailable):
                    await work
            os.kill(replica.pid, signal.SIGCONT)
            again = await journal.create(created(), idempotency=Idempotency("k", "f"))
            assert (again.run_id, again.is_new) == (made.run_id, False)
            assert (await journal.claim(made.run_id, "w", ttl_s=TTL_S)).cancel_requested == "stop"
            await journal.aclose()
        finally:
            replica.close()


@in_loop
async def test_many_new_runs_at_once_hear_of_a_stuck_server_together(one_server: RedisServer) -> None:
    """Not one after the other, each with a wait of its own."""
    journal = RedisJournal(one_server.url, timeout_s=0.5)
    await journal.create(created())
    await asyncio.sleep(1.1)  # the figure is old now
    os.kill(one_server.pid, signal.SIGSTOP)
    try:
        began = time.monotonic()
        made = await asyncio.gather(*(journal.create(created()) for _ in range(50)), return_exceptions=True)
        assert {type(each) for each in made} == {JournalUnavailable}
        assert time.monotonic() - began < 4
    finally:
        os.kill(one_server.pid, signal.SIGCONT)
    await eventually(lambda: anyhow(journal.create(created())))
    await journal.aclose()


async def anyhow(work: Awaitable[Any]) -> Any:
    """Return what comes, or nothing while the server is away."""
    try:
        return await work
    except JournalUnavailable:
        return None


def test_the_share_is_read_from_what_the_server_says() -> None:
    assert share_of(b"# Memory\r\nused_memory:50\r\nmaxmemory:200\r\n") == 0.25
    assert share_of(b"used_memory:50\r\nmaxmemory:0\r\n") is None
    assert share_of(b"") is None
