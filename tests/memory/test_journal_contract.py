"""The contract of a journal, kept by every implementation: memory, Redis 6.2, 7.0 and 8."""

import asyncio

import pytest

from loopwright.errors import Fenced, RunBusy, RunExists, RunNotFound
from loopwright.memory.journal.contract import Lease
from loopwright.memory.journal.ids import new_run_id
from loopwright.planner.events import (
    CallFinished,
    CallIntended,
    RunClaimed,
    RunStarted,
)

from .support import DONE, TTL_S, Backend, claimed, created, eventually, finish, in_loop, step, types_of

# --- creation and claims -------------------------------------------------------------------------------------


@in_loop
async def test_a_created_run_is_listed_due_and_readable(backend: Backend) -> None:
    journal = backend.open()
    first = created()
    await journal.create(first)
    assert [each.event for each in await journal.read(first.run_id)] == [first]
    assert await journal.due() == [first.run_id]
    record = await journal.record(first.run_id)
    assert (record.tenant, record.agent, record.status, record.epoch, record.step) == ("acme", "clerk", "queued", 0, 0)
    assert record.created_ms > 1_600_000_000_000
    await journal.aclose()


@in_loop
async def test_a_second_run_of_the_same_id_is_refused_and_changes_nothing(backend: Backend) -> None:
    journal = backend.open()
    first = created()
    await journal.create(first)
    with pytest.raises(RunExists):
        await journal.create(created(agent="other", run_id=first.run_id))
    assert [each.event for each in await journal.read(first.run_id)] == [first]
    assert (await journal.record(first.run_id)).agent == "clerk"
    await journal.aclose()


@in_loop
async def test_a_claim_raises_the_epoch_and_returns_all_that_happened(backend: Backend) -> None:
    journal = backend.open()
    claim = await claimed(journal)
    assert claim.lease.epoch == 1
    assert [each.event.type for each in claim.events] == ["run.created", "run.claimed"]
    assert claim.events[1].event == RunClaimed(epoch=1, worker="worker-1")
    assert (await journal.record(claim.lease.run_id)).status == "running"
    await journal.aclose()


@in_loop
async def test_a_live_lease_keeps_others_away_also_when_they_come_at_once(backend: Backend) -> None:
    journals = [backend.open() for _ in range(4)]
    first = created()
    await journals[0].create(first)
    claims = (journal.claim(first.run_id, f"w{n}", ttl_s=TTL_S) for n, journal in enumerate(journals * 4))
    results = await asyncio.gather(*claims, return_exceptions=True)
    assert [type(each).__name__ for each in results if isinstance(each, Exception)] == ["RunBusy"] * 15
    assert (await types_of(journals[0], first.run_id)).count("run.claimed") == 1
    for journal in journals:
        await journal.aclose()


@in_loop
async def test_a_lease_that_ran_out_by_itself_can_be_claimed(backend: Backend) -> None:
    """With a short lease on the server's own clock; everywhere else tests turn the clock instead."""
    journal = backend.open()
    first = created()
    await journal.create(first)
    await journal.claim(first.run_id, "w1", ttl_s=0.02)

    async def second() -> bool:
        try:
            return (await journal.claim(first.run_id, "w2", ttl_s=TTL_S)).lease.epoch == 2
        except RunBusy:
            return False

    assert await eventually(second)
    await journal.aclose()


@in_loop
async def test_unknown_runs_are_not_found(backend: Backend) -> None:
    journal = backend.open()
    for run_id in (new_run_id("acme"), "nonsense", "99" + "0" * 32, ""):
        with pytest.raises(RunNotFound):
            await journal.claim(run_id, "w", ttl_s=1)
        with pytest.raises(RunNotFound):
            await journal.read(run_id)
        with pytest.raises(RunNotFound):
            await journal.record(run_id)
        with pytest.raises(RunNotFound):
            await journal.request_cancel(run_id, "why not")
        with pytest.raises(RunNotFound):
            await anext(aiter(journal.follow(run_id)))
        assert await journal.artifact(run_id, "a") is None
    await journal.aclose()


# --- writing -------------------------------------------------------------------------------------------------


@in_loop
async def test_events_are_stored_in_the_order_of_their_appends(backend: Backend) -> None:
    journal = backend.open()
    lease = (await claimed(journal)).lease
    journal.append(lease, RunStarted("head"), step(1))
    journal.append(lease, CallIntended("1.1", "rate", "keyed", "k"))
    await journal.barrier(lease, durable=True)
    journal.append(lease, CallFinished("1.1", "rate", "line one\nline two \u2028 \x00 \u00e4"), step(2))
    await journal.barrier(lease)
    stored = await journal.read(lease.run_id)
    assert [each.event for each in stored[2:]] == [
        RunStarted("head"),
        step(1),
        CallIntended("1.1", "rate", "keyed", "k"),
        CallFinished("1.1", "rate", "line one\nline two \u2028 \x00 \u00e4"),
        step(2),
    ]
    ids = [tuple(map(int, each.id.split("-"))) for each in stored]
    assert ids == sorted(set(ids))
    assert stored[0].at_ms == ids[0][0]
    assert (await journal.record(lease.run_id)).step == 2
    await journal.aclose()


@in_loop
async def test_appends_without_a_barrier_arrive_all_the_same(backend: Backend) -> None:
    journal = backend.open()
    lease = (await claimed(journal)).lease
    journal.append(lease, step(1))

    async def arrived() -> bool:
        return "step.decided" in await types_of(journal, lease.run_id)

    assert await eventually(arrived)
    await journal.barrier(lease)
    await journal.aclose()


@in_loop
async def test_closing_writes_what_is_buffered(backend: Backend) -> None:
    journal, other = backend.open(linger_s=60), backend.open()
    lease = (await claimed(journal)).lease
    journal.append(lease, step(1), step(2))
    await journal.aclose()
    assert (await types_of(other, lease.run_id)).count("step.decided") == 2
    await other.aclose()


@in_loop
async def test_artifacts_are_there_when_the_event_that_names_them_is(backend: Backend) -> None:
    journal = backend.open()
    lease = (await claimed(journal)).lease
    text = 'long\n"text" \u00e4 ' * 20_000
    event = CallFinished("1.1", "rate", "long...", artifact="1.1", size=len(text))
    journal.append(lease, event, artifacts={"1.1": text, "empty": ""})
    await journal.barrier(lease)
    assert await journal.artifact(lease.run_id, "1.1") == text
    assert await journal.artifact(lease.run_id, "empty") == ""
    assert await journal.artifact(lease.run_id, "2.1") is None
    await journal.aclose()


@in_loop
async def test_a_hundred_runs_at_once_keep_the_order_of_each(backend: Backend) -> None:
    journal = backend.open()
    tenants = [f"tenant-{n % 7}" for n in range(100)]
    leases = [claim.lease for claim in await asyncio.gather(*(claimed(journal, each) for each in tenants))]

    async def drive(lease: Lease) -> None:
        for number in range(1, 11):
            journal.append(lease, step(number))
            if number % 3 == 0:
                await journal.barrier(lease, durable=True)
            else:
                await asyncio.sleep(0)
        await finish(journal, lease)

    await asyncio.gather(*(drive(each) for each in leases))
    for lease in leases:
        events = [each.event for each in await journal.read(lease.run_id)]
        assert events[2:] == [*(step(number) for number in range(1, 11)), DONE]
    await journal.aclose()


# --- fencing -------------------------------------------------------------------------------------------------


@in_loop
async def test_a_superseded_lease_can_neither_write_nor_renew(backend: Backend) -> None:
    zombie, worker = backend.open(), backend.open()
    old = (await claimed(zombie)).lease
    backend.expire(old)
    new = (await worker.claim(old.run_id, "worker-2", ttl_s=TTL_S)).lease
    assert new.epoch == 2
    with pytest.raises(Fenced):
        zombie.append(old, step(1, "from the grave"))
        await zombie.barrier(old)
    for _ in range(2):
        with pytest.raises(Fenced):
            zombie.append(old, step(1, "again"))
            await zombie.barrier(old)
        with pytest.raises(Fenced):
            await zombie.renew(old, ttl_s=TTL_S)
    await zombie.release(old)
    worker.append(new, step(1, "alive"))
    await worker.barrier(new, durable=True)
    texts = [each.event.text for each in await worker.read(old.run_id) if each.event.type == "step.decided"]
    assert texts == ["alive"]
    await zombie.aclose()
    await worker.aclose()


@in_loop
async def test_a_lease_that_ran_out_but_was_not_taken_still_writes(backend: Backend) -> None:
    journal = backend.open()
    lease = (await claimed(journal)).lease
    backend.expire(lease)
    journal.append(lease, step(1))
    await journal.barrier(lease, durable=True)
    assert await journal.renew(lease, ttl_s=TTL_S) is None
    with pytest.raises(RunBusy):
        await journal.claim(lease.run_id, "worker-2", ttl_s=1)
    await journal.aclose()


@in_loop
async def test_an_invented_lease_is_fenced(backend: Backend) -> None:
    journal = backend.open()
    lease = (await claimed(journal)).lease
    forged = Lease(lease.run_id, lease.epoch, "0" * 16)
    with pytest.raises(Fenced):
        journal.append(forged, step(1))
        await journal.barrier(forged)
    with pytest.raises(Fenced):
        await journal.barrier(Lease(new_run_id("acme"), 1, "0" * 16))
    await journal.aclose()
