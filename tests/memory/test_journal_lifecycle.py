"""From release to the end of a run, the same in every journal: due runs, final events, lists, cancellation."""

import asyncio

import pytest

from loopwright.errors import Fenced, RunBusy
from loopwright.planner.events import (
    BudgetReached,
    RunCancelled,
    RunExpired,
    RunFailed,
    RunResumed,
    RunWaiting,
)

from .support import DONE, TTL_S, Backend, claimed, created, finish, in_loop, step, types_of

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


@pytest.mark.parametrize("blank", ["", " ", "\n\t\u2028"])
@in_loop
async def test_a_cancel_request_without_a_reason_reaches_the_owner_all_the_same(backend: Backend, blank: str) -> None:
    journal = backend.open()
    lease = (await claimed(journal)).lease
    await journal.request_cancel(lease.run_id, blank)
    assert await journal.renew(lease, ttl_s=TTL_S) == "requested"
    assert await journal.barrier(lease) == "requested"
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
