"""Connections, round trips and keys that all runs of a process share; retention."""

import asyncio
import subprocess
import sys

import pytest

from loopwright.errors import Misuse, RunBusy, RunNotFound
from loopwright.memory.journal.contract import Lease
from loopwright.memory.journal.ids import new_run_id
from loopwright.memory.journal.redis import RedisJournal

from ..servers import RedisServer
from .support import DONE, TTL_S, RedisBackend, calls, claimed, created, eventually, in_loop, last_of, step


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
