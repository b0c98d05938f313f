"""A journal whose finished runs answer also after they have left it for the archive."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing
from typing import Any, cast

from ..errors import RunNotFound
from ..planner.events import Event, Overlap, Priority, RunCreated, Status
from .archive import Archive
from .journal.contract import (
    Claim,
    Created,
    Durability,
    Idempotency,
    Journal,
    Lease,
    RunPage,
    RunRecord,
    Snapshot,
    Stored,
)
from .journal.ids import parse_event_id


class ArchivedJournal:
    """A `Journal` that looks into the archive for runs which the journal has no more.

    Args:
        journal: Where runs are written.
        archive: Where finished ones go.
    """

    def __init__(self, journal: Journal, archive: Archive) -> None:
        self.journal = journal
        self.archive = archive

    @property
    def durability(self) -> Durability:
        """What a durable barrier promises here."""
        return self.journal.durability

    # --- reading: the journal first, then the archive --------------------------------------------------------

    async def read(self, run_id: str, *, after: str = "", limit: int | None = None) -> list[Stored]:
        """Return events; see `Journal.read`."""
        try:
            return await self.journal.read(run_id, after=after, limit=limit)
        except RunNotFound:
            return _behind((await self._archived(run_id)).events, after)[:limit]

    async def follow(self, run_id: str, *, after: str = "") -> AsyncIterator[Stored]:
        """Yield events, live; see `Journal.follow`."""
        try:
            async with aclosing(cast(Any, self.journal.follow(run_id, after=after))) as events:
                async for each in events:
                    after = each.id
                    yield each
            return
        except RunNotFound:
            whole = await self._archived(run_id)
        for each in _behind(whole.events, after):
            yield each

    async def record(self, run_id: str) -> RunRecord:
        """Return the run's summary; see `Journal.record`."""
        try:
            return await self.journal.record(run_id)
        except RunNotFound:
            return (await self.archive.read(run_id)).record

    async def snapshot(self, run_id: str, *, artifacts: bool = True) -> Snapshot:
        """Copy a run; see `Journal.snapshot`."""
        try:
            return await self.journal.snapshot(run_id, artifacts=artifacts)
        except RunNotFound:
            return await self._archived(run_id)

    async def artifact(self, run_id: str, artifact_id: str) -> str | None:
        """Return an artifact; see `Journal.artifact`."""
        found = await self.journal.artifact(run_id, artifact_id)
        if found is not None:
            return found
        try:
            if (await self.record(run_id)).archived:
                return (await self._archived(run_id)).artifacts.get(artifact_id)
        except RunNotFound:
            pass
        return None

    async def request_cancel(self, run_id: str, reason: str) -> None:
        """Ask the owner to stop; an archived run has none. See `Journal.request_cancel`."""
        try:
            await self.journal.request_cancel(run_id, reason)
        except RunNotFound:
            await self.archive.read(run_id)

    async def _archived(self, run_id: str) -> Snapshot:
        """Return an archived run; the summary, where there is one still, names its tenant."""
        try:
            tenant = (await self.journal.record(run_id)).tenant
        except RunNotFound:
            return await self.archive.read(run_id)
        return await self.archive.read(run_id, tenant=tenant)

    # --- everything else: the journal alone -----------------------------------------------------------------

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
        return await self.journal.create(
            created, events=events, artifacts=artifacts, due_in_s=due_in_s, idempotency=idempotency, overlap=overlap
        )

    async def claim(self, run_id: str, worker: str, *, ttl_s: float) -> Claim:
        """Take the lease; see `Journal.claim`."""
        return await self.journal.claim(run_id, worker, ttl_s=ttl_s)

    async def renew(self, lease: Lease, *, ttl_s: float) -> str | None:
        """Prolong the lease; see `Journal.renew`."""
        return await self.journal.renew(lease, ttl_s=ttl_s)

    async def release(self, lease: Lease, *, due_in_s: float | None = 0.0) -> None:
        """Give the lease back; see `Journal.release`."""
        await self.journal.release(lease, due_in_s=due_in_s)

    def append(self, lease: Lease, *events: Event, artifacts: Mapping[str, str] | None = None) -> None:
        """Buffer events; see `Journal.append`."""
        self.journal.append(lease, *events, artifacts=artifacts)

    async def barrier(self, lease: Lease, *, durable: bool = False) -> str | None:
        """Wait until what was appended is stored; see `Journal.barrier`."""
        return await self.journal.barrier(lease, durable=durable)

    async def runs(
        self, tenant: str, *, status: Status | None = None, agent: str | None = None, before: str = "", limit: int = 50
    ) -> list[RunRecord]:
        """List a tenant's runs; see `Journal.runs`. Archived ones are listed as long as their summaries stay."""
        return await self.journal.runs(tenant, status=status, agent=agent, before=before, limit=limit)

    async def page(
        self, tenant: str, *, status: Status | None = None, agent: str | None = None, before: str = "", limit: int = 50
    ) -> RunPage:
        """List some of a tenant's runs; see `Journal.page`."""
        return await self.journal.page(tenant, status=status, agent=agent, before=before, limit=limit)

    async def due(self, *, limit: int = 100) -> list[str]:
        """Return due runs; see `Journal.due`."""
        return await self.journal.due(limit=limit)

    async def due_runs(self, *, limit: int = 100) -> list[tuple[str, Priority]]:
        """Return due runs with their priorities; see `Journal.due`."""
        return await self.journal.due_runs(limit=limit)

    def on_turn(self, call: Callable[[str, Priority], None] | None) -> None:
        """Have `call` told of runs whose turn has come; see `Journal.on_turn`."""
        self.journal.on_turn(call)

    async def waiting(self, tenant: str, *, before: str = "", limit: int = 50) -> list[str]:
        """Return runs that wait for a person; see `Journal.waiting`."""
        return await self.journal.waiting(tenant, before=before, limit=limit)

    async def list_ended(self, before_ms: int, limit: int) -> list[str]:
        """Return finished runs; see `Journal.list_ended`."""
        return await self.journal.list_ended(before_ms, limit)

    async def delete(self, run_id: str, *, listed_s: float = 0.0) -> None:
        """Remove a finished run from the journal, not from the archive; see `Journal.delete`."""
        await self.journal.delete(run_id, listed_s=listed_s)

    async def room(self) -> float | None:
        """Return how full the memory is; see `Journal.room`."""
        return await self.journal.room()

    async def aclose(self) -> None:
        """Write what is buffered and close connections."""
        await self.journal.aclose()


def _behind(events: Sequence[Stored], after: str) -> list[Stored]:
    if not after:
        return list(events)
    last = parse_event_id(after)
    return [each for each in events if parse_event_id(each.id) > last]
