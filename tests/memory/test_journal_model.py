"""Two journals, one story: whatever happens to runs, memory and Redis answer the same."""

import asyncio
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from loopwright.errors import JournalError, LoopwrightError, RunNotFound
from loopwright.memory.journal.contract import Created, Idempotency, Journal, Lease
from loopwright.memory.journal.ids import new_run_id
from loopwright.planner.events import (
    FINAL,
    BudgetReached,
    CallFinished,
    Event,
    Overlap,
    RunCancelled,
    RunCreated,
    RunFailed,
    RunResumed,
    RunSucceeded,
    RunWaiting,
    StepDecided,
)

from ..servers import RedisServer
from .support import TTL_S, Backend, RedisBackend

EVENTS = st.sampled_from(
    [
        StepDecided(1, "a"), StepDecided(2, "b\n\u00e4"), CallFinished("1.1", "rate", "ok"), RunWaiting("tool"),
        RunResumed(), BudgetReached("max_steps", "x"),
    ]
)  # fmt: skip
ENDINGS = st.sampled_from([RunSucceeded("1"), RunFailed("why", "detail"), RunCancelled("asked")])
TENANTS = st.sampled_from(["acme", "umbrella"])

Answer = Any


class TwoJournals(RuleBasedStateMachine):
    """Does everything to both and compares what they say."""

    server: RedisServer
    runs = Bundle("runs")
    leases = Bundle("leases")

    def __init__(self) -> None:
        super().__init__()
        self.server.command("FLUSHALL")
        self.loop = asyncio.Runner()
        self.backends: list[Backend] = [Backend(), RedisBackend("redis", self.server)]
        self.journals: list[Journal] = []
        self.known: set[str] = set()

    @initialize()
    def connect(self) -> None:
        self.journals = [each.open() for each in self.backends]

    def teardown(self) -> None:
        self.journals_tell_the_same()
        for each in self.journals:
            self.loop.run(each.aclose())
        self.loop.close()

    def both(self, ask: Any) -> list[Answer]:
        """Ask both; an error of ours is an answer, too."""

        async def one(journal: Journal, index: int) -> Answer:
            try:
                return await ask(journal, index)
            except LoopwrightError as exc:
                return type(exc).__name__

        return [self.loop.run(one(journal, index)) for index, journal in enumerate(self.journals)]

    @rule(
        target=runs,
        tenant=TENANTS,
        thread=st.sampled_from([None, None, "t1", "t2"]),
        overlap=st.sampled_from(["reject", "enqueue", "interrupt"]),
        same=st.sampled_from([None, None, Idempotency("k1", "a"), Idempotency("k1", "b"), Idempotency("k2", "a")]),
    )
    def create(self, tenant: str, thread: str | None, overlap: Overlap, same: Idempotency | None) -> str:
        run_id = new_run_id(tenant)
        event = RunCreated(run_id, tenant, "clerk", "hash", "task", thread_id=thread)
        first, second = self.both(lambda journal, _: journal.create(event, overlap=overlap, idempotency=same))
        assert first == second
        if isinstance(first, Created) and first.is_new:
            self.known.add(run_id)
        return run_id

    @rule(run_id=runs, listed_s=st.sampled_from([0.0, 3600.0]))
    def delete(self, run_id: str, listed_s: float) -> None:
        first, second = self.both(lambda journal, _: journal.delete(run_id, listed_s=listed_s))
        assert first == second

    @rule(run_id=runs, target=leases)
    def claim(self, run_id: str) -> tuple[Lease, ...]:
        found: list[Lease] = []

        async def ask(journal: Journal, _: int) -> Answer:
            claim = await journal.claim(run_id, "w", ttl_s=TTL_S)
            found.append(claim.lease)
            return claim.lease.epoch, [each.event for each in claim.events], claim.cancel_requested

        first, second = self.both(ask)
        assert first == second
        return tuple(found) or (Lease(run_id, 0, "never"), Lease(run_id, 0, "never"))

    @rule(pair=leases, events=st.lists(EVENTS, min_size=1, max_size=3), ending=st.none() | ENDINGS, named=st.booleans())
    def write(self, pair: tuple[Lease, ...], events: list[Event], ending: Event | None, named: bool) -> None:
        async def ask(journal: Journal, index: int) -> Answer:
            batch = [*events, ending] if ending else events
            journal.append(pair[index], *batch, artifacts={"a": "text"} if named else None)
            await journal.barrier(pair[index], durable=True)

        first, second = self.both(ask)
        assert first == second

    @rule(pair=leases)
    def renew(self, pair: tuple[Lease, ...]) -> None:
        """Behind a final event of its own a late renewal may find all well or be refused: both end the lease."""

        async def ask(journal: Journal, index: int) -> Answer:
            answer = await journal.renew(pair[index], ttl_s=TTL_S)
            try:
                has_ended = (await journal.record(pair[index].run_id)).status in FINAL
            except RunNotFound:
                has_ended = True
            return "Fenced" if has_ended else answer

        first, second = self.both(ask)
        assert first == second

    @rule(pair=leases, delay=st.sampled_from([0.0, 3600.0, None]))
    def release(self, pair: tuple[Lease, ...], delay: float | None) -> None:
        first, second = self.both(lambda journal, index: journal.release(pair[index], due_in_s=delay))
        assert first == second

    @rule(pair=leases)
    def expire(self, pair: tuple[Lease, ...]) -> None:
        """Both stores let the current lease of the run end; the run is due then."""

        async def ask(journal: Journal, index: int) -> Answer:
            record = await journal.record(pair[index].run_id)
            return record.epoch == pair[index].epoch and record.status not in ("succeeded", "failed", "cancelled")

        first, second = self.both(ask)
        assert first == second
        if first is True:
            memory, redis = self.backends
            run = memory.open()._runs[pair[0].run_id]  # type: ignore[attr-defined]
            if run.token == pair[0].token:
                run.lease_end_ms, run.due_ms = 1, 1
                redis.expire(pair[1])

    @rule(run_id=runs, reason=st.sampled_from(["enough", "too\nlate"]))
    def cancel(self, run_id: str, reason: str) -> None:
        first, second = self.both(lambda journal, _: journal.request_cancel(run_id, reason))
        assert first == second

    @rule()
    def sweep(self) -> None:
        first, second = self.both(lambda journal, _: journal.due(limit=1000))
        assert sorted(first) == sorted(second)

    def journals_tell_the_same(self) -> None:
        for run_id in self.known:

            async def tell(journal: Journal, _: int, run_id: str = run_id) -> Answer:
                record = await journal.record(run_id)
                facts = (record.tenant, record.status, record.reason, record.epoch, record.step, record.archived)
                if record.archived:
                    return facts
                events = [each.event for each in await journal.read(run_id)]
                return facts, events, await journal.artifact(run_id, "a")

            first, second = self.both(tell)
            assert first == second

    @rule()
    def lists_show_the_same(self) -> None:
        async def tell(journal: Journal, _: int) -> Answer:
            shown = [await journal.list_ended(4_000_000_000_000, 1000)]
            for tenant in ("acme", "umbrella"):
                shown.append([each.run_id for each in await journal.runs(tenant, limit=1000)])
                shown.append(await journal.waiting(tenant, limit=1000))
            return [sorted(part) for part in shown]

        first, second = self.both(tell)
        assert first == second


def test_memory_and_redis_tell_the_same_story(one_server: RedisServer) -> None:
    machine = type("Machine", (TwoJournals,), {"server": one_server})
    limits = settings(
        max_examples=12, stateful_step_count=25, deadline=None, derandomize=True, database=None,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    run_state_machine_as_test(machine, settings=limits)


def test_errors_of_both_are_comparable() -> None:
    assert issubclass(JournalError, LoopwrightError)
    with pytest.raises(LoopwrightError):
        raise JournalError("x")
