"""The journal in one process: for tests, notebooks and single runs that need not survive the process.

Same contract as `RedisJournal`, with the difference that appending stores at once, so `barrier` has nothing to
wait for. Nothing here polls: followers sleep on a future that the next append resolves.
"""

import asyncio
import secrets
import time
from bisect import bisect_right
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field

from ...errors import Fenced, IdempotencyConflict, Misuse, RunBusy, RunExists, RunNotFound, ThreadBusy
from ...planner.events import (
    FINAL,
    PEOPLE,
    Event,
    Overlap,
    Priority,
    RunClaimed,
    RunCreated,
    RunSucceeded,
    Status,
)
from .contract import BEHIND, HELD, Claim, Created, Durability, Idempotency, Lease, RunPage, RunRecord, Snapshot, Stored
from .ids import created_ms_of, parse_event_id
from .summary import cancel_reason, change_of
from .turns import Turns, said_of, takes_thread

PUSH_BACK_MS = 5_000
"""How long a run that `due` returned stays hidden from the next call, in milliseconds."""


@dataclass(slots=True)
class _Run:
    """All that is known of one run. `stamps[i]` is the (milliseconds, sequence) of `events[i]`."""

    created: RunCreated
    created_ms: int
    status: Status = "queued"
    reason: str | None = None
    step: int = 0
    epoch: int = 0
    token: str = ""
    lease_end_ms: int = 0
    due_ms: int | None = None
    turn_ms: int | None = None
    archived: bool = False
    cancel: str | None = None
    updated_ms: int = 0
    events: list[Event] = field(default_factory=list)
    stamps: list[tuple[int, int]] = field(default_factory=list)
    artifacts: dict[str, str] = field(default_factory=dict)
    waiters: list[asyncio.Future[None]] = field(default_factory=list)

    @property
    def is_final(self) -> bool:
        return self.status in FINAL


class InMemoryJournal:
    """A `Journal` without a server.

    Args:
        clock: Seconds since 1970; stamps events and decides when a lease ends.
    """

    durability: Durability = "none"

    def __init__(self, *, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._runs: dict[str, _Run] = {}
        self._same: dict[tuple[str, str], tuple[str, str, float]] = {}
        self._turns = Turns()
        self._on_turn: Callable[[str, Priority], None] | None = None

    async def create(
        self,
        created: RunCreated,
        *,
        events: Sequence[Event] = (),
        artifacts: Mapping[str, str] | None = None,
        due_in_s: float = 0.0,
        idempotency: Idempotency | None = None,
        overlap: Overlap = "reject",
    ) -> Created:
        """Accept a run; see `Journal.create`."""
        if created.run_id in self._runs:
            raise RunExists(run_id=created.run_id)
        known = self._known(created.tenant, idempotency)
        if known is not None:
            return Created(known, is_new=False)
        now = self._now()
        run = _Run(created, now, due_ms=now + int(due_in_s * 1000), step=change_of(events).step or 0)
        self._take_turn(run, overlap, now)
        run.artifacts.update(artifacts or {})
        self._runs[created.run_id] = run
        self._store(run, now, (created, *events))
        if idempotency is not None:
            until = self._clock() + idempotency.ttl_s
            self._same[created.tenant, idempotency.key] = (created.run_id, idempotency.fingerprint, until)
        return Created(created.run_id, is_queued=run.turn_ms is not None)

    async def claim(self, run_id: str, worker: str, *, ttl_s: float) -> Claim:
        """Take the lease; see `Journal.claim`."""
        run, now = self._find(run_id), self._now()
        if run.is_final:
            raise RunBusy(problem=f"it has ended ({run.status})", run_id=run_id)
        if run.turn_ms is not None and run.cancel is None:
            raise RunBusy(problem=BEHIND, run_id=run_id)
        if run.token and run.lease_end_ms > now:
            raise RunBusy(problem=HELD, run_id=run_id)
        run.epoch += 1
        run.token = secrets.token_hex(8)
        run.lease_end_ms = run.due_ms = now + int(ttl_s * 1000)
        if run.status == "queued":
            run.status = "running"
        self._store(run, now, (RunClaimed(epoch=run.epoch, worker=worker),))
        return Claim(Lease(run_id, run.epoch, run.token), tuple(self._slice(run, "", None)), run.cancel)

    async def renew(self, lease: Lease, *, ttl_s: float) -> str | None:
        """Prolong the lease; see `Journal.renew`."""
        run = self._held(lease)
        run.lease_end_ms = run.due_ms = self._now() + int(ttl_s * 1000)
        return run.cancel

    async def release(self, lease: Lease, *, due_in_s: float | None = 0.0) -> None:
        """Give the lease back; nothing happens when it is not held any more."""
        run = self._runs.get(lease.run_id)
        if run is None or run.token != lease.token or run.is_final:
            return
        run.token, run.lease_end_ms = "", 0
        run.due_ms = None if due_in_s is None else self._now() + int(due_in_s * 1000)
        if run.cancel is not None:
            run.due_ms = self._now()

    def append(self, lease: Lease, *events: Event, artifacts: Mapping[str, str] | None = None) -> None:
        """Store events; see `Journal.append`."""
        run = self._held(lease)
        if artifacts:
            run.artifacts.update(artifacts)
        if not events:
            return
        self._store(run, self._now(), events)
        status, reason, step = change_of(events)
        if step is not None:
            run.step = step
        if reason is not None:
            run.reason = reason or None
        if status is not None:
            run.status = status
            if status in FINAL:
                run.due_ms, run.lease_end_ms = None, 0
                self._leave_turn(run, events[-1])

    async def barrier(self, lease: Lease, *, durable: bool = False) -> str | None:
        """Return at once: what was appended is stored. Raises Fenced."""
        run = self._runs.get(lease.run_id)
        if run is None or run.token != lease.token:
            raise Fenced(run_id=lease.run_id, epoch=lease.epoch)
        return run.cancel

    async def read(self, run_id: str, *, after: str = "", limit: int | None = None) -> list[Stored]:
        """Return stored events; see `Journal.read`."""
        return self._slice(self._find(run_id, with_events=True), after, limit)

    async def follow(self, run_id: str, *, after: str = "") -> AsyncIterator[Stored]:
        """Yield events, live; see `Journal.follow`."""
        run = self._find(run_id, with_events=True)
        index = _index_after(run, after)
        while True:
            while index < len(run.events):
                index += 1
                yield _stored(run, index - 1)
            if run.is_final:
                return
            news = asyncio.get_running_loop().create_future()
            run.waiters.append(news)
            try:
                await news
            finally:
                if news in run.waiters:
                    run.waiters.remove(news)

    async def record(self, run_id: str) -> RunRecord:
        """Return the run's summary; see `Journal.record`."""
        return _record(self._find(run_id))

    async def runs(
        self, tenant: str, *, status: Status | None = None, agent: str | None = None, before: str = "", limit: int = 50
    ) -> list[RunRecord]:
        """List a tenant's runs; see `Journal.runs`."""
        mine = [run for run in self._runs.values() if run.created.tenant == tenant]
        mine.sort(key=_listing_order, reverse=True)
        if before:
            cursor = self._runs.get(before)
            mine = [run for run in mine if cursor and _listing_order(run) < _listing_order(cursor)]
        found = (r for r in mine if status in (None, r.status) and agent in (None, r.created.agent))
        return [_record(run) for run, _ in zip(found, range(limit), strict=False)]

    async def page(
        self, tenant: str, *, status: Status | None = None, agent: str | None = None, before: str = "", limit: int = 50
    ) -> RunPage:
        """List a tenant's runs; see `Journal.page`. Here it looks at all of them."""
        found = await self.runs(tenant, status=status, agent=agent, before=before, limit=limit + 1)
        return RunPage(found[:limit], found[limit - 1].run_id if len(found) > limit else "")

    async def artifact(self, run_id: str, artifact_id: str) -> str | None:
        """Return an artifact; see `Journal.artifact`."""
        run = self._runs.get(run_id)
        return run.artifacts.get(artifact_id) if run else None

    async def snapshot(self, run_id: str, *, artifacts: bool = True) -> Snapshot:
        """Copy a run; see `Journal.snapshot`."""
        run = self._find(run_id, with_events=True)
        return Snapshot(_record(run), tuple(self._slice(run, "", None)), dict(run.artifacts) if artifacts else {})

    async def request_cancel(self, run_id: str, reason: str) -> None:
        """Ask the owner to stop; the first request's reason stays. See `Journal.request_cancel`."""
        run = self._find(run_id)
        if not run.is_final:
            self._ask_to_stop(run, reason, self._now())

    def on_turn(self, call: Callable[[str, Priority], None] | None) -> None:
        """Have `call` told of runs whose turn has come; see `Journal.on_turn`."""
        self._on_turn = call

    async def due(self, *, limit: int = 100) -> list[str]:
        """Return due runs; see `Journal.due`."""
        now = self._now()
        waiting = ((run.due_ms, run_id) for run_id, run in self._runs.items() if run.due_ms is not None)
        found = [run_id for due_ms, run_id in sorted(waiting) if due_ms <= now][:limit]
        for run_id in found:
            self._runs[run_id].due_ms = now + PUSH_BACK_MS
        return found

    async def due_runs(self, *, limit: int = 100) -> list[tuple[str, Priority]]:
        """Return due runs with their priorities; see `Journal.due`."""
        return [(run_id, self._runs[run_id].created.priority) for run_id in await self.due(limit=limit)]

    async def waiting(self, tenant: str, *, before: str = "", limit: int = 50) -> list[str]:
        """Return runs that wait for a person; see `Journal.waiting`."""
        asking = [run for run in self._runs.values() if run.status == "waiting" and run.created.tenant == tenant]
        mine = [run for run in asking if run.reason in PEOPLE]
        mine.sort(key=_listing_order, reverse=True)
        if before:
            cursor = self._runs.get(before)
            since = _listing_order(cursor) if cursor else (created_ms_of(before), before)
            mine = [run for run in mine if _listing_order(run) < since]
        return [run.created.run_id for run in mine[:limit]]

    async def list_ended(self, before_ms: int, limit: int) -> list[str]:
        """Return finished runs; see `Journal.list_ended`."""
        over = [run for run in self._runs.values() if run.is_final and not run.archived and run.updated_ms <= before_ms]
        over.sort(key=lambda run: (run.updated_ms, run.created.run_id))
        return [run.created.run_id for run in over[:limit]]

    async def delete(self, run_id: str, *, listed_s: float = 0.0) -> None:
        """Remove a finished run; see `Journal.delete`. A summary stays as long as the process."""
        run = self._runs.get(run_id)
        if run is None:
            return
        if not run.is_final:
            raise Misuse(f"run {run_id} has not ended, so it cannot be deleted: cancel it first")
        if listed_s > 0:
            run.events, run.stamps, run.artifacts, run.archived = [], [], {}, True
        else:
            del self._runs[run_id]

    async def room(self) -> float | None:
        """Nothing bounds the memory here."""
        return None

    async def aclose(self) -> None:
        """Nothing to close: the runs stay readable."""

    def _now(self) -> int:
        return int(self._clock() * 1000)

    def _find(self, run_id: str, *, with_events: bool = False) -> _Run:
        run = self._runs.get(run_id)
        if run is None or (with_events and run.archived):
            raise RunNotFound(run_id=run_id)
        return run

    def _known(self, tenant: str, idempotency: Idempotency | None) -> str | None:
        """Return the run that an idempotency key made before. Raises IdempotencyConflict."""
        if idempotency is None:
            return None
        run_id, fingerprint, until = self._same.get((tenant, idempotency.key), ("", "", 0.0))
        if until <= self._clock():
            return None
        if fingerprint != idempotency.fingerprint:
            raise IdempotencyConflict(key=idempotency.key)
        return run_id

    def _take_turn(self, run: _Run, overlap: Overlap, now: int) -> None:
        """Give a new run the thread that it names, or its place in line. Raises ThreadBusy."""
        of = run.created
        if of.thread_id is None or not takes_thread(of):
            return
        holder = self._turns.thread(of.tenant, of.thread_id).holder
        if holder is not None and overlap == "reject":
            raise ThreadBusy(thread_id=of.thread_id, run_id=holder)
        if self._turns.take(of.tenant, of.thread_id, of.run_id, first=overlap == "interrupt"):
            return
        run.turn_ms, run.due_ms = run.due_ms, None
        if holder is not None and overlap == "interrupt":
            self._ask_to_stop(self._runs[holder], f"interrupted by run {of.run_id}", now)

    def _leave_turn(self, run: _Run, last: Event) -> None:
        """Let the next run of the thread have its turn."""
        of = run.created
        if of.thread_id is None or not takes_thread(of):
            return
        answer = last.output if isinstance(last, RunSucceeded) else None
        heir = self._turns.leave(
            of.tenant, of.thread_id, of.run_id, said_of(of.task), answer, lambda each: self._runs[each].is_final
        )
        if heir is not None:
            next_run, now = self._runs[heir], self._now()
            next_run.due_ms = max(now, next_run.turn_ms or 0, next_run.lease_end_ms)
            next_run.turn_ms = None
            if self._on_turn is not None and next_run.due_ms == now:
                self._on_turn(heir, next_run.created.priority)

    @staticmethod
    def _ask_to_stop(run: _Run, reason: str, now: int) -> None:
        if run.cancel is None:
            run.cancel = cancel_reason(reason)
        if not run.token or run.lease_end_ms <= now:
            run.due_ms = now

    def _held(self, lease: Lease) -> _Run:
        run = self._runs.get(lease.run_id)
        if run is None or run.token != lease.token or run.status in FINAL:
            raise Fenced(run_id=lease.run_id, epoch=lease.epoch)
        return run

    def _store(self, run: _Run, now: int, events: tuple[Event, ...]) -> None:
        """Append events under ids that only grow, whatever the clock does, and wake the followers."""
        stamps = run.stamps
        ms, sequence = stamps[-1] if stamps else (0, 0)
        ms, sequence = (now, 0) if now > ms else (ms, sequence + 1)
        for offset, event in enumerate(events):
            run.events.append(event)
            stamps.append((ms, sequence + offset))
        run.updated_ms = now
        if run.waiters:
            waiters, run.waiters = run.waiters, []
            for each in waiters:
                if not each.done():
                    each.set_result(None)

    def _slice(self, run: _Run, after: str, limit: int | None) -> list[Stored]:
        start = _index_after(run, after)
        end = len(run.events) if limit is None else min(len(run.events), start + limit)
        return [_stored(run, index) for index in range(start, end)]


def _stored(run: _Run, index: int) -> Stored:
    ms, sequence = run.stamps[index]
    return Stored(f"{ms}-{sequence}", run.events[index])


def _index_after(run: _Run, after: str) -> int:
    if not after:
        return 0
    return bisect_right(run.stamps, parse_event_id(after))


def _listing_order(run: _Run) -> tuple[int, str]:
    return run.created_ms, run.created.run_id


def _record(run: _Run) -> RunRecord:
    of = run.created
    return RunRecord(
        of.run_id, of.tenant, of.agent, run.status, run.reason, run.epoch, run.step, run.created_ms, run.updated_ms,
        run.archived,
    )  # fmt: skip
