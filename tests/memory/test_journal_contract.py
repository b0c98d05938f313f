"""The contract of a journal, kept by every implementation: memory, Redis 6.2, 7.0 and 8."""

import asyncio

import pytest
from loopwright.errors import Fenced, JournalError, Misuse, RunBusy, RunExists, RunNotFound
from loopwright.memory.journal.contract import Journal, Lease, Stored
from loopwright.memory.journal.ids import new_run_id
from loopwright.planner.events import (
    BudgetReached,
    CallFinished,
    CallIntended,
    RunCancelled,
    RunClaimed,
    RunExpired,
    RunFailed,
    RunResumed,
    RunStarted,
    RunSucceeded,
    RunWaiting,
)

from .support import TTL_S, Backend, claimed, created, eventually, in_loop, step, types_of

DONE = RunSucceeded('"42"')


async def finish(journal: Journal, lease: Lease) -> None:
    """End a run."""
    journal.append(lease, DONE)
    await journal.barrier(lease, durable=True)


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


# --- release, renewal, due -----------------------------------------------------------------------------------


@in_loop
async def test_renewing_keeps_a_run_from_being_due_and_from_others(backend: Backend) -> None:
    journal = backend.open()
    lease = (await claimed(journal)).lease
    backend.expire(lease)
    assert await journal.renew(lease, ttl_s=TTL_S * 3) is None
    assert await journal.due() == []
    with pytest.raises(RunBusy):
        await journal.claim(lease.run_id, "worker-2", ttl_s=1)
    await journal.aclose()


@in_loop
async def test_a_lease_that_ran_out_makes_the_run_due(backend: Backend) -> None:
    journal = backend.open()
    lease = (await claimed(journal)).lease
    assert await journal.due() == []
    backend.expire(lease)
    assert await journal.due() == [lease.run_id]
    assert await journal.due() == [], "one sweeper saw it; the others do not, for a while"
    backend.sweep_again()
    assert await journal.due() == [lease.run_id], "whoever saw it may have died"
    await journal.aclose()


@in_loop
async def test_a_released_run_can_be_claimed_at_once_and_has_all_that_was_appended(backend: Backend) -> None:
    journal, other = backend.open(), backend.open()
    lease = (await claimed(journal)).lease
    journal.append(lease, step(1))
    await journal.release(lease)
    assert await other.due() == [lease.run_id]
    claim = await other.claim(lease.run_id, "worker-2", ttl_s=TTL_S)
    assert [each.event.type for each in claim.events] == ["run.created", "run.claimed", "step.decided", "run.claimed"]
    await journal.release(lease)
    with pytest.raises(Fenced):
        journal.append(lease, step(2))
    assert (await other.record(lease.run_id)).epoch == 2
    await journal.aclose()
    await other.aclose()


@in_loop
async def test_a_run_released_for_later_is_due_then_and_one_released_for_ever_is_not(backend: Backend) -> None:
    journal = backend.open()
    later, never = (await claimed(journal)).lease, (await claimed(journal)).lease
    await journal.release(later, due_in_s=3600)
    await journal.release(never, due_in_s=None)
    assert await journal.due() == []
    backend.sweep_again()
    if backend.name != "memory":
        assert await journal.due() == [later.run_id]
    claim = await journal.claim(never.run_id, "worker-2", ttl_s=TTL_S)
    assert claim.lease.epoch == 2
    await journal.aclose()


@in_loop
async def test_due_returns_no_more_than_asked_for_and_the_rest_next_time(backend: Backend) -> None:
    journal = backend.open()
    runs = [created(f"tenant-{n % 5}") for n in range(20)]
    for each in runs:
        await journal.create(each)
    seen: list[str] = []
    for _ in range(4):
        part = await journal.due(limit=6)
        assert len(part) <= 6
        seen += part
    assert sorted(seen) == sorted(each.run_id for each in runs)
    await journal.aclose()


@in_loop
async def test_a_finished_run_is_never_due_again(backend: Backend) -> None:
    """The prototype's plain ZADD listed finished runs for ever; each way back onto the list is tried here."""
    journal = backend.open()
    lease = (await claimed(journal)).lease
    renewal = asyncio.ensure_future(journal.renew(lease, ttl_s=0.001))
    await asyncio.sleep(0)
    await finish(journal, lease)
    await asyncio.gather(renewal, return_exceptions=True)
    await journal.release(lease)
    await journal.release(lease, due_in_s=0.001)
    await journal.request_cancel(lease.run_id, "too late")
    with pytest.raises(Fenced):
        await journal.renew(lease, ttl_s=0.001)
    with pytest.raises(RunBusy):
        await journal.claim(lease.run_id, "worker-2", ttl_s=0.001)
    for _ in range(3):
        backend.sweep_again()
        assert await journal.due() == []
    await journal.aclose()


# --- the end of a run ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("last", "status", "reason"),
    [
        (DONE, "succeeded", None),
        (RunFailed("model_unavailable", "no answer"), "failed", "model_unavailable"),
        (RunCancelled("asked\nto  stop"), "cancelled", "asked to stop"),
        (RunExpired("late"), "expired", "deadline"),
    ],
)
@in_loop
async def test_a_final_event_ends_run_and_lease(backend: Backend, last: RunFailed, status: str, reason: str) -> None:
    journal = backend.open()
    lease = (await claimed(journal)).lease
    journal.append(lease, step(1), last)
    await journal.barrier(lease, durable=True)
    await journal.barrier(lease)
    record = await journal.record(lease.run_id)
    assert (record.status, record.reason, record.step) == (status, reason, 1)
    with pytest.raises(Fenced):
        journal.append(lease, step(2))
    with pytest.raises(RunBusy):
        await journal.claim(lease.run_id, "worker-2", ttl_s=1)
    await journal.release(lease)
    assert (await types_of(journal, lease.run_id))[-1] == last.type
    await journal.aclose()


@in_loop
async def test_the_summary_follows_waiting_resuming_and_budgets(backend: Backend) -> None:
    journal = backend.open()
    lease = (await claimed(journal)).lease
    seen = []
    for event in (RunWaiting("approval", ("1.1",)), RunResumed(), BudgetReached("max_steps", "answer now"), DONE):
        journal.append(lease, event)
        await journal.barrier(lease)
        record = await journal.record(lease.run_id)
        seen.append((record.status, record.reason))
    assert seen == [
        ("waiting", "approval"),
        ("running", None),
        ("running", "max_steps"),
        ("succeeded", "max_steps"),
    ]
    await journal.aclose()


@in_loop
async def test_claiming_a_waiting_run_leaves_it_waiting(backend: Backend) -> None:
    journal = backend.open()
    lease = (await claimed(journal)).lease
    journal.append(lease, RunWaiting("approval", ("1.1",)))
    await journal.release(lease, due_in_s=None)
    await journal.claim(lease.run_id, "worker-2", ttl_s=TTL_S)
    assert (await journal.record(lease.run_id)).status == "waiting"
    await journal.aclose()


# --- reading and following -----------------------------------------------------------------------------------


@in_loop
async def test_reading_resumes_behind_an_id_and_stops_at_a_limit(backend: Backend) -> None:
    journal = backend.open()
    lease = (await claimed(journal)).lease
    journal.append(lease, *(step(number) for number in range(1, 8)))
    await journal.barrier(lease)
    whole = await journal.read(lease.run_id)
    assert await journal.read(lease.run_id, after=whole[3].id) == whole[4:]
    assert await journal.read(lease.run_id, after=whole[3].id, limit=2) == whole[4:6]
    assert await journal.read(lease.run_id, after=whole[-1].id) == []
    for wrong in ("latest", "1-2-3", "-1", "1\r\n2"):
        with pytest.raises(Misuse):
            await journal.read(lease.run_id, after=wrong)
    await journal.aclose()


async def collect(journal: Journal, run_id: str, into: list[Stored], *, after: str = "") -> None:
    """Follow a run to its end."""
    async for each in journal.follow(run_id, after=after):
        into.append(each)


@in_loop
async def test_followers_see_every_event_once_and_end_behind_the_final_one(backend: Backend) -> None:
    journal, watcher = backend.open(), backend.open()
    lease = (await claimed(journal)).lease
    views: list[list[Stored]] = [[], [], []]
    async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
        tasks.create_task(collect(watcher, lease.run_id, views[0]))
        for number in range(1, 30):
            journal.append(lease, step(number))
            if number % 5 == 0:
                await journal.barrier(lease)
            if number == 10:
                tasks.create_task(collect(watcher, lease.run_id, views[1]))
                fifth = (await journal.read(lease.run_id))[4].id
                tasks.create_task(collect(watcher, lease.run_id, views[2], after=fifth))
        await finish(journal, lease)
    whole = await journal.read(lease.run_id)
    assert views == [whole, whole, whole[5:]]
    await journal.aclose()
    await watcher.aclose()


@in_loop
async def test_a_follower_sees_news_while_it_waits(backend: Backend) -> None:
    journal, watcher = backend.open(), backend.open()
    lease = (await claimed(journal)).lease
    news = aiter(watcher.follow(lease.run_id))
    for _ in range(2):
        await anext(news)
    for number in range(1, 6):
        waiting = asyncio.ensure_future(anext(news))
        await asyncio.sleep(0.01)
        journal.append(lease, step(number))
        async with asyncio.timeout(5):
            assert (await waiting).event == step(number)
    waiting = asyncio.ensure_future(anext(news))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    await finish(journal, lease)
    await journal.aclose()
    await watcher.aclose()


@in_loop
async def test_following_a_finished_run_ends_at_once_also_from_its_end(backend: Backend) -> None:
    journal = backend.open()
    lease = (await claimed(journal)).lease
    await finish(journal, lease)
    whole = await journal.read(lease.run_id)
    async with asyncio.timeout(5):
        assert [each async for each in journal.follow(lease.run_id)] == whole
        assert [each async for each in journal.follow(lease.run_id, after=whole[-1].id)] == []
    await journal.aclose()


@in_loop
async def test_many_followers_of_many_runs_each_see_their_own(backend: Backend) -> None:
    journal, watcher = backend.open(), backend.open()
    leases = [claim.lease for claim in await asyncio.gather(*(claimed(journal, f"t{n % 9}") for n in range(60)))]
    views: dict[str, list[Stored]] = {each.run_id: [] for each in leases}
    async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
        for lease in leases:
            tasks.create_task(collect(watcher, lease.run_id, views[lease.run_id]))
        for lease in leases:
            journal.append(lease, step(1, lease.run_id))
            await asyncio.sleep(0)
            journal.append(lease, DONE)
        await asyncio.gather(*(journal.barrier(each) for each in leases))
    for run_id, view in views.items():
        assert [each.event for each in view[2:]] == [step(1, run_id), DONE]
    await journal.aclose()
    await watcher.aclose()


# --- lists and cancellation ----------------------------------------------------------------------------------


@in_loop
async def test_lists_are_newest_first_with_cursors_and_filters(backend: Backend) -> None:
    journal = backend.open()
    runs = [created("acme", "clerk" if n % 2 else "cook") for n in range(12)]
    for each in runs:
        await journal.create(each)
    whole = [each.run_id for each in await journal.runs("acme")]
    assert sorted(whole) == sorted(each.run_id for each in runs)
    created_ms = [each.created_ms for each in await journal.runs("acme")]
    assert created_ms == sorted(created_ms, reverse=True)
    pages, cursor = [], ""
    while page := await journal.runs("acme", before=cursor, limit=5):
        pages += [each.run_id for each in page]
        cursor = pages[-1]
    assert pages == whole
    cooks = [each.run_id for each in runs if each.agent == "cook"]
    assert sorted(each.run_id for each in await journal.runs("acme", agent="cook")) == sorted(cooks)
    claim = await journal.claim(runs[3].run_id, "w", ttl_s=TTL_S)
    await finish(journal, claim.lease)
    assert [each.run_id for each in await journal.runs("acme", status="succeeded")] == [runs[3].run_id]
    assert len(await journal.runs("acme", status="queued", limit=4)) == 4
    assert await journal.runs("acme", status="failed") == []
    await journal.aclose()


@in_loop
async def test_a_tenant_sees_only_its_own_runs(backend: Backend) -> None:
    journal = backend.open()
    tenants = ["acme", "acme2", "umbrella", "*"]
    for tenant in tenants:
        await journal.create(created(tenant))
    for tenant in tenants:
        assert [each.tenant for each in await journal.runs(tenant)] == [tenant]
    assert await journal.runs("nobody") == []
    await journal.aclose()


@in_loop
async def test_a_cancel_request_reaches_the_owner_and_the_first_reason_stays(backend: Backend) -> None:
    journal = backend.open()
    lease = (await claimed(journal)).lease
    await journal.request_cancel(lease.run_id, "changed\nmy mind")
    await journal.request_cancel(lease.run_id, "twice")
    assert await journal.due() == [], "its owner hears of it with the next renewal"
    assert await journal.renew(lease, ttl_s=TTL_S) == "changed my mind"
    await journal.release(lease, due_in_s=None)
    assert await journal.due() == [lease.run_id], "a run that is to be cancelled never sleeps"
    claim = await journal.claim(lease.run_id, "worker-2", ttl_s=TTL_S)
    assert claim.cancel_requested == "changed my mind"
    await journal.aclose()


@in_loop
async def test_a_cancel_request_wakes_a_sleeping_run(backend: Backend) -> None:
    journal = backend.open()
    lease = (await claimed(journal)).lease
    journal.append(lease, RunWaiting("approval"))
    await journal.release(lease, due_in_s=None)
    await journal.request_cancel(lease.run_id, "enough")
    assert await journal.due() == [lease.run_id]
    await journal.aclose()


def test_all_refusals_of_a_journal_are_its_own_errors() -> None:
    assert all(issubclass(each, JournalError) for each in (Fenced, RunBusy))
