"""How runs are accepted, the same in every journal: once per key, later, with a past, in turns; and how they go."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from loopwright.errors import IdempotencyConflict, Misuse, RunBusy, RunExists, RunNotFound, ThreadBusy
from loopwright.memory.journal import scripts
from loopwright.memory.journal.contract import Created, Idempotency
from loopwright.memory.journal.creating import arguments_of, created_of, names_of
from loopwright.memory.journal.ids import new_run_id, shard_of_tenant
from loopwright.memory.journal.redis import RedisJournal
from loopwright.planner.events import (
    CallFinished,
    RunCancelled,
    RunCreated,
    RunResumed,
    RunStarted,
    RunWaiting,
)

from ..servers import RedisServer
from .proxy import LossyProxy
from .support import DONE, TTL_S, Backend, RedisBackend, claimed, created, eventually, finish, in_loop, step, types_of

SAME = Idempotency("key-1", "body-1")


def of_thread(thread_id: str = "t1", **more: Any) -> RunCreated:
    return RunCreated(new_run_id("acme"), "acme", "clerk", "hash", "task", thread_id=thread_id, **more)


# --- once per key --------------------------------------------------------------------------------------------


@in_loop
async def test_a_repeated_request_finds_the_first_run_and_makes_none(backend: Backend) -> None:
    journal = backend.open()
    first = await journal.create(created(), idempotency=SAME)
    assert first == Created(first.run_id, is_new=True, is_queued=False)
    again = await journal.create(created(), idempotency=SAME)
    assert again == Created(first.run_id, is_new=False)
    claim = await journal.claim(first.run_id, "w", ttl_s=TTL_S)
    await finish(journal, claim.lease)
    assert (await journal.create(created(), idempotency=SAME)).run_id == first.run_id, "also when it has ended"
    assert [each.run_id for each in await journal.runs("acme")] == [first.run_id]
    assert await journal.due() == []
    await journal.aclose()


@in_loop
async def test_a_key_used_for_another_request_is_a_conflict_and_changes_nothing(backend: Backend) -> None:
    journal = backend.open()
    first = await journal.create(created(), idempotency=SAME)
    with pytest.raises(IdempotencyConflict, match="key-1"):
        await journal.create(created(), idempotency=Idempotency("key-1", "body-2"))
    assert [each.run_id for each in await journal.runs("acme")] == [first.run_id]
    assert (await journal.create(created("umbrella"), idempotency=Idempotency("key-1", "body-2"))).is_new
    assert (await journal.create(created(), idempotency=Idempotency("key-2", "body-2"))).is_new
    await journal.aclose()


@in_loop
async def test_a_key_is_forgotten_in_time(backend: Backend) -> None:
    journal = backend.open()
    await journal.create(created(), idempotency=replace(SAME, ttl_s=0.02))

    async def forgotten() -> bool:
        return (await journal.create(created(), idempotency=replace(SAME, ttl_s=0.02))).is_new

    assert await eventually(forgotten)
    await journal.aclose()


@in_loop
async def test_fifty_requests_at_once_under_each_of_a_hundred_keys_make_a_hundred_runs(backend: Backend) -> None:
    journals = [backend.open() for _ in range(4)]
    made = await asyncio.gather(
        *(
            journals[turn % 4].create(created(), idempotency=Idempotency(f"key-{key}", f"body-{key}"))
            for turn in range(50)
            for key in range(100)
        )
    )
    assert sum(each.is_new for each in made) == 100
    assert len({each.run_id for each in made}) == 100
    assert len(await journals[0].runs("acme", limit=1000)) == 100
    refused = await asyncio.gather(
        *(journals[0].create(created(), idempotency=Idempotency(f"key-{key}", "other")) for key in range(100)),
        return_exceptions=True,
    )
    assert [type(each) for each in refused] == [IdempotencyConflict] * 100
    for journal in journals:
        await journal.aclose()


@in_loop
async def test_a_refused_run_of_a_thread_does_not_use_up_its_key(backend: Backend) -> None:
    journal = backend.open()
    holder = await journal.create(of_thread())
    with pytest.raises(ThreadBusy):
        await journal.create(of_thread(), idempotency=SAME)
    await finish(journal, (await journal.claim(holder.run_id, "w", ttl_s=TTL_S)).lease)
    assert (await journal.create(of_thread(), idempotency=SAME)).is_new
    await journal.aclose()


@in_loop
async def test_a_create_whose_answer_was_lost_is_still_new(server: RedisServer) -> None:
    server.command("FLUSHALL")
    async with LossyProxy(server) as proxy:
        journal = RedisJournal(proxy.url)
        await journal.connect()
        for overlap, queued in (("reject", False), ("enqueue", True)):
            proxy.lose_answers = 2
            wanted = of_thread()
            same = Idempotency(f"key-{overlap}", "body")
            made = await journal.create(wanted, idempotency=same, overlap=overlap)  # type: ignore[arg-type]
            assert made == Created(wanted.run_id, is_new=True, is_queued=queued)
        assert proxy.lost == 4
        assert len(await journal.runs("acme")) == 2
        await journal.aclose()


@in_loop
async def test_a_late_repetition_of_a_create_knows_its_own_run_after_it_was_claimed(server: RedisServer) -> None:
    server.command("FLUSHALL")
    journal = RedisJournal(server.url)
    wanted = created()
    sent = arguments_of(wanted, (), {}, 0.0, SAME, "reject", 0)
    await journal._run(scripts.CREATE, names_of(wanted), *sent)
    await finish(journal, (await journal.claim(wanted.run_id, "w", ttl_s=TTL_S)).lease)
    reply = await journal._run(scripts.CREATE, names_of(wanted), *sent)
    assert created_of(reply, wanted, SAME) == Created(wanted.run_id)
    assert await types_of(journal, wanted.run_id) == ["run.created", "run.claimed", "run.succeeded"]
    with pytest.raises(RunExists):
        await journal.create(wanted)
    await journal.aclose()


# --- later, with a past, in turns ----------------------------------------------------------------------------


@in_loop
async def test_a_run_for_later_is_due_then(backend: Backend) -> None:
    journal = backend.open()
    await journal.create(created(), due_in_s=3600)
    soon = await journal.create(created(), due_in_s=0.02)
    assert await eventually(journal.due) == [soon.run_id]
    await journal.aclose()


@in_loop
async def test_a_fork_begins_with_what_it_took_over(backend: Backend) -> None:
    journal = backend.open()
    past = (RunStarted("head"), step(1), CallFinished("1.1", "rate", "long", artifact="1.1"), step(2))
    made = await journal.create(created(), events=past, artifacts={"1.1": "long\ntext \u00e4", "2": ""})
    record = await journal.record(made.run_id)
    assert (record.status, record.step) == ("queued", 2)
    claim = await journal.claim(made.run_id, "w", ttl_s=TTL_S)
    assert [each.event for each in claim.events[1:-1]] == list(past)
    assert await journal.artifact(made.run_id, "1.1") == "long\ntext \u00e4"
    assert await journal.artifact(made.run_id, "2") == ""
    await journal.aclose()


@in_loop
async def test_due_runs_tell_their_priority(backend: Backend) -> None:
    journal = backend.open()
    for priority in ("high", "normal", "low"):
        await journal.create(replace(created(), priority=priority))
    assert sorted(priority for _, priority in await journal.due_runs()) == ["high", "low", "normal"]
    await journal.aclose()


@in_loop
async def test_runs_of_a_thread_take_turns(backend: Backend) -> None:
    journal = backend.open()
    told: list[tuple[str, str]] = []
    journal.on_turn(lambda run_id, priority: told.append((run_id, priority)))
    first = await journal.create(of_thread())
    with pytest.raises(ThreadBusy) as busy:
        await journal.create(of_thread())
    assert busy.value.run_id == first.run_id
    second = await journal.create(of_thread(priority="low"), overlap="enqueue")
    urgent = await journal.create(of_thread(), overlap="interrupt")
    assert (first.is_queued, second.is_queued, urgent.is_queued) == (False, True, True)
    assert (await journal.create(of_thread("t2"))).is_queued is False
    with pytest.raises(RunBusy, match="turn"):
        await journal.claim(second.run_id, "w", ttl_s=TTL_S)
    claim = await journal.claim(first.run_id, "w", ttl_s=TTL_S)
    assert claim.cancel_requested == f"interrupted by run {urgent.run_id}"
    for run_id in (first.run_id, urgent.run_id, second.run_id):
        lease = claim.lease if run_id == first.run_id else (await journal.claim(run_id, "w", ttl_s=TTL_S)).lease
        await finish(journal, lease)
    assert told == [(urgent.run_id, "normal"), (second.run_id, "low")]
    await journal.aclose()


@in_loop
async def test_a_queued_run_that_is_cancelled_may_be_taken_and_holds_nobody_up(backend: Backend) -> None:
    journal = backend.open()
    first = await journal.create(of_thread())
    doomed = await journal.create(of_thread(), overlap="enqueue")
    last = await journal.create(of_thread(), overlap="enqueue")
    await journal.request_cancel(doomed.run_id, "enough")
    lease = (await journal.claim(doomed.run_id, "w", ttl_s=TTL_S)).lease
    journal.append(lease, RunCancelled("enough"))
    await journal.barrier(lease)
    await finish(journal, (await journal.claim(first.run_id, "w", ttl_s=TTL_S)).lease)
    assert last.run_id in await journal.due()
    await journal.aclose()


# --- the waiting, the finished, the removed ------------------------------------------------------------------


@in_loop
async def test_waiting_runs_are_listed_while_they_wait(backend: Backend) -> None:
    journal = backend.open()
    leases = [(await claimed(journal)).lease for _ in range(5)]
    await claimed(journal, "umbrella")
    for lease in leases:
        journal.append(lease, RunWaiting("approval", ("1.1",)))
        await journal.barrier(lease)
    newest_first = [each.run_id for each in await journal.runs("acme")]
    assert await journal.waiting("acme") == newest_first
    assert await journal.waiting("acme", limit=2) == newest_first[:2]
    assert await journal.waiting("acme", before=newest_first[1], limit=2) == newest_first[2:4]
    assert await journal.waiting("umbrella") == []
    by_id = {each.run_id: each for each in leases}
    journal.append(by_id[newest_first[0]], RunResumed())
    await journal.barrier(by_id[newest_first[0]])
    await finish(journal, by_id[newest_first[2]])
    left = [newest_first[1], *newest_first[3:]]
    assert await journal.waiting("acme") == left
    await journal.release(by_id[left[0]], due_in_s=None)
    await journal.claim(left[0], "w", ttl_s=TTL_S)
    assert await journal.waiting("acme") == left, "a claim alone ends no waiting"
    await journal.aclose()


@in_loop
async def test_finished_runs_are_listed_by_their_end_and_can_be_removed(backend: Backend) -> None:
    journal = backend.open()
    leases = [(await claimed(journal, f"tenant-{n}")).lease for n in range(4)]
    for lease in (leases[2], leases[0], leases[1]):
        journal.append(lease, step(1), artifacts={"1.1": "text"})
        await finish(journal, lease)
        await asyncio.sleep(0.002)
    ended = [leases[2].run_id, leases[0].run_id, leases[1].run_id]
    late = 4_000_000_000_000
    assert await journal.list_ended(late, 10) == ended
    assert await journal.list_ended(late, 2) == ended[:2]
    assert await journal.list_ended((await journal.record(ended[0])).updated_ms, 10) == ended[:1]
    with pytest.raises(Misuse, match="not ended"):
        await journal.delete(leases[3].run_id)
    for _ in range(2):
        await journal.delete(ended[0])
    await journal.delete(new_run_id("acme"))
    for ask in (journal.read, journal.record, journal.snapshot):
        with pytest.raises(RunNotFound):
            await ask(ended[0])
    assert await journal.artifact(ended[0], "1.1") is None
    assert await journal.runs("tenant-2") == []
    assert await journal.list_ended(late, 10) == ended[1:]
    await journal.aclose()


@in_loop
async def test_a_removed_run_may_leave_its_summary(backend: Backend) -> None:
    journal = backend.open()
    lease = (await claimed(journal)).lease
    journal.append(lease, step(3), artifacts={"1.1": "text"})
    await finish(journal, lease)
    whole = await journal.snapshot(lease.run_id)
    for _ in range(2):
        await journal.delete(lease.run_id, listed_s=3600)
    record = await journal.record(lease.run_id)
    assert record == replace(whole.record, archived=True)
    assert await journal.runs("acme") == [record]
    assert await journal.list_ended(4_000_000_000_000, 10) == []
    for ask in (journal.read, journal.snapshot):
        with pytest.raises(RunNotFound):
            await ask(lease.run_id)
    with pytest.raises(RunNotFound):
        await anext(aiter(journal.follow(lease.run_id)))
    with pytest.raises(RunBusy):
        await journal.claim(lease.run_id, "w", ttl_s=TTL_S)
    await journal.request_cancel(lease.run_id, "too late")
    assert await journal.due() == []
    await journal.delete(lease.run_id)
    with pytest.raises(RunNotFound):
        await journal.record(lease.run_id)
    await journal.aclose()


@in_loop
async def test_a_snapshot_is_the_whole_run(backend: Backend) -> None:
    journal = backend.open()
    lease = (await claimed(journal)).lease
    journal.append(lease, step(1), DONE, artifacts={"b": "text \u00e4\n", "a": ""})
    await journal.barrier(lease)
    whole = await journal.snapshot(lease.run_id)
    assert whole.record == await journal.record(lease.run_id)
    assert list(whole.events) == await journal.read(lease.run_id)
    assert whole.artifacts == {"a": "", "b": "text \u00e4\n"}
    await journal.aclose()


@in_loop
async def test_a_finished_run_that_stands_on_the_due_list_leaves_it_unseen(server: RedisServer) -> None:
    """However it came there: the sweep lists again only what is still listed and has not ended."""
    server.command("FLUSHALL")
    backend = RedisBackend("redis", server)
    journal = backend.open()
    lease = (await claimed(journal)).lease
    await finish(journal, lease)
    due = scripts.due_key(shard_of_tenant("acme"))
    for name in (lease.run_id, new_run_id("acme")):
        server.command("ZADD", due, "1", name)
    assert await journal.due() == []
    assert server.command("ZCARD", due) == b":0\r\n"
    await journal.aclose()


@in_loop
async def test_webhooks_are_owed_by_the_transition_that_made_them_true(server: RedisServer) -> None:
    server.command("FLUSHALL")
    journal = RedisJournal(server.url)
    await finish(journal, (await claimed(journal)).lease)
    wanted = replace(created(), webhook="https://example.org/hook?a=1")
    await journal.create(wanted)
    lease = (await journal.claim(wanted.run_id, "w", ttl_s=TTL_S)).lease
    for event in (RunStarted("head"), RunWaiting("approval", ("1.1",)), RunResumed(), step(1), DONE):
        journal.append(lease, event)
        await journal.barrier(lease)
    shown = server.command("XRANGE", f"{{s{shard_of_tenant('acme'):02d}}}:outbox", "-", "+").decode()
    words = [each for each in shown.split("\r\n") if each and each[0] not in "*$"]
    assert [words[at + 1] for at, each in enumerate(words) if each == "status"] == ["waiting", "succeeded"]
    assert words[words.index("reason") + 1] == "approval"
    assert words.count(wanted.run_id) == 2
    assert words.count("https://example.org/hook?a=1") == 2
    await journal.aclose()


@in_loop
async def test_with_retention_finished_runs_expire_and_are_not_listed_for_an_archive(server: RedisServer) -> None:
    server.command("FLUSHALL")
    key = f"{{s{shard_of_tenant('acme'):02d}}}"
    for archived, listed, lives in ((False, b":0\r\n", True), (True, b":1\r\n", False)):
        journal = RedisJournal(server.url, retention_s=3600, archived=archived)
        lease = (await claimed(journal)).lease
        await finish(journal, lease)
        assert server.command("ZCARD", f"{key}:ended") == listed
        assert (int(server.command("PTTL", f"{key}:run:{lease.run_id}:j")[1:]) > 0) is lives
        await journal.aclose()
