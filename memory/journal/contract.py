"""The contract of a journal: fenced, append-only, readable by anyone at any time.

Writing needs a lease. `append` only buffers, so that all runs of a process share one round trip (group commit);
`barrier` waits until everything appended under the lease is stored, and with `durable=True` until it is durable
in the mode that the journal declares. A tool with effects is sent only behind a durable barrier.
"""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from ...planner.events import Event, Overlap, Priority, RunCreated, Status

HELD = "another process holds it, or held it until it was killed; try again when its lease (15 s by default) is over"
"""Why a run with a live lease cannot be claimed."""

BEHIND = "it waits for its turn: another run of its thread has not ended"
"""Why a run that is queued in a thread cannot be claimed, unless it is to be cancelled."""

Durability = Literal["none", "everysec", "always", "replicated"]


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to write to one run. A lease superseded by a later claim is fenced off.

    It belongs to the journal object that claimed it. One that ran out but was not taken by anybody still writes.

    Attributes:
        run_id: The run.
        epoch: Raised by one with every claim.
        token: Random; guards against an epoch that is issued twice after the server lost its last writes.
    """

    run_id: str
    epoch: int
    token: str


@dataclass(frozen=True, slots=True)
class Idempotency:
    """How a repeated request is recognised. The key belongs to the tenant of the run.

    Attributes:
        key: Drawn by the caller, once per request.
        fingerprint: Hash of the request: the same key with another fingerprint is a mistake of the caller.
        ttl_s: How long the key is remembered, in seconds.
    """

    key: str
    fingerprint: str
    ttl_s: float = 86_400.0


@dataclass(frozen=True, slots=True)
class Created:
    """What became of `Journal.create`.

    Attributes:
        run_id: The run; with a repeated idempotency key the one that was created first.
        is_new: Whether this call made it.
        is_queued: Whether it waits behind another run of its thread, so that nobody needs to be woken for it.
    """

    run_id: str
    is_new: bool = True
    is_queued: bool = False


@dataclass(frozen=True, slots=True)
class Stored:
    """An event with its place. `id` (`milliseconds-sequence`) orders the events of a run and resumes a stream."""

    id: str
    event: Event

    @property
    def at_ms(self) -> int:
        """When it was stored, in milliseconds since 1970, by the journal's clock."""
        return int(self.id.partition("-")[0])


@dataclass(frozen=True, slots=True)
class Claim:
    """A lease and all that happened before it."""

    lease: Lease
    events: tuple[Stored, ...]
    cancel_requested: str | None = None


@dataclass(frozen=True, slots=True)
class RunRecord:
    """The summary of a run, for lists; the journal's events are the truth behind it.

    Attributes:
        archived: Whether events and artifacts have left the journal; the archive has them.
    """

    run_id: str
    tenant: str
    agent: str
    status: Status
    reason: str | None
    epoch: int
    step: int
    created_ms: int
    updated_ms: int
    archived: bool = False


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything about a run at one moment."""

    record: RunRecord
    events: tuple[Stored, ...]
    artifacts: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class RunPage:
    """Some of a list of runs; `next` is the run id to go on behind, empty at the end of the list.

    A page may be short, or empty, and still not be the last: only so many runs are looked at for it.
    """

    records: list[RunRecord]
    next: str


class Journal(Protocol):
    """Where runs are written down. Implementations: in memory, Redis."""

    @property
    def durability(self) -> Durability:
        """What a durable barrier promises here."""
        ...

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
        """Accept a run: its first events, its listing and its place among the due runs, in one transition.

        A run with a `thread_id` has the thread to itself. While another run has it, this one is refused (`reject`),
        waits for its turn (`enqueue`), or is the next one while the other is asked to stop (`interrupt`). A run that
        waits is due as soon as its turn has come.

        Args:
            created: The first event.
            events: What a fork takes over, stored behind the first event.
            artifacts: Artifacts that those events name.
            due_in_s: When the run is due: at once, or after somebody had time to wake a worker, or much later.
            idempotency: Makes a repeated request find the run that the first one created.
            overlap: What to do when another run of the thread has not ended.

        Raises:
            RunExists: A run of that id is there already; nothing was changed.
            IdempotencyConflict: The key was used with another fingerprint; nothing was changed.
            ThreadBusy: Another run has the thread, and `overlap` is `reject`; nothing was changed.
            StoreFull: There is next to no memory left; nothing was changed.
            JournalUnavailable: Not known whether it was accepted; a retry with the same id tells, as `RunExists`.
        """
        ...

    async def claim(self, run_id: str, worker: str, *, ttl_s: float) -> Claim:
        """Take the lease: raise the epoch, append `run.claimed`, return the whole journal.

        A queued run is running from then on; a waiting one goes on waiting until `run.resumed`.

        Raises:
            RunNotFound: There is no such run.
            RunBusy: Another lease is alive, or the run is final.
        """
        ...

    async def renew(self, lease: Lease, *, ttl_s: float) -> str | None:
        """Prolong the lease from now; return the reason of a requested cancellation, if any.

        Raises:
            Fenced: The lease is superseded or the run is final.
        """
        ...

    async def release(self, lease: Lease, *, due_in_s: float | None = 0.0) -> None:
        """Give the lease back after writing what is buffered. The run is due again after `due_in_s`; `None`: never.

        A run that is to be cancelled is due at once. Nothing happens when the lease is not held any more, so a
        worker may release whatever it claimed.

        Raises:
            JournalUnavailable: The lease may still be held; it runs out by itself.
        """
        ...

    def append(self, lease: Lease, *events: Event, artifacts: Mapping[str, str] | None = None) -> None:
        """Buffer events, and artifacts stored before them, to be written in this order as one transition.

        A final event ends the run: status, listing and due place change with it, and the lease is gone.

        Raises:
            Fenced: An earlier write found the lease superseded.
            JournalUnavailable: An earlier write failed for good.
        """
        ...

    async def barrier(self, lease: Lease, *, durable: bool = False) -> str | None:
        """Wait until everything appended under the lease is stored (and durable in the declared mode).

        Returns:
            The reason of a requested cancellation, if one was acknowledged before the newest of these events was
            stored. So a tool that is sent only behind a barrier that returned `None` was not cancelled before.

        Raises:
            Fenced: The lease is superseded: drop the run without a trace.
            JournalUnavailable: The events could not be stored in time.
        """
        ...

    async def read(self, run_id: str, *, after: str = "", limit: int | None = None) -> list[Stored]:
        """Return the events behind the id `after` (empty: from the first). Raises RunNotFound."""
        ...

    def follow(self, run_id: str, *, after: str = "") -> AsyncIterator[Stored]:
        """Yield events from `after` on, live, and end behind the final one. Raises RunNotFound."""
        ...

    async def record(self, run_id: str) -> RunRecord:
        """Return the run's summary. Raises RunNotFound."""
        ...

    async def runs(
        self, tenant: str, *, status: Status | None = None, agent: str | None = None, before: str = "", limit: int = 50
    ) -> list[RunRecord]:
        """Return a tenant's runs, newest first, from behind the run id `before`, however many there are to look at."""
        ...

    async def page(
        self, tenant: str, *, status: Status | None = None, agent: str | None = None, before: str = "", limit: int = 50
    ) -> RunPage:
        """Return what `runs` returns at a bounded cost: at most 2,000 runs are looked at."""
        ...

    async def artifact(self, run_id: str, artifact_id: str) -> str | None:
        """Return a stored artifact of the run, or `None`."""
        ...

    async def snapshot(self, run_id: str, *, artifacts: bool = True) -> Snapshot:
        """Return summary, events and (unless left out) artifacts as they were at one moment. Raises RunNotFound."""
        ...

    async def request_cancel(self, run_id: str, reason: str) -> None:
        """Ask the run's owner to stop; a run without a live lease becomes due at once. Raises RunNotFound."""
        ...

    async def due(self, *, limit: int = 100) -> list[str]:
        """Return ids of runs that somebody must look at now, and push each back so that others do not see it too.

        A run is due from its creation until it is claimed, and again when its lease ran out or a release said so.
        """
        ...

    async def due_runs(self, *, limit: int = 100) -> list[tuple[str, Priority]]:
        """Return what `due` returns, each with the run's priority."""
        ...

    def on_turn(self, call: Callable[[str, Priority], None] | None) -> None:
        """Have `call` told of runs that are due because the run before them in their thread has ended here.

        It gets the id and the priority, in the event loop, and must neither block nor raise. Nobody needs it: the
        runs are due whether anybody is told or not.
        """
        ...

    async def waiting(self, tenant: str, *, before: str = "", limit: int = 50) -> list[str]:
        """Return ids of a tenant's runs that wait for a person: an approval, or a call in doubt.

        Those created last come first, from behind the run id `before`.
        """
        ...

    async def list_ended(self, before_ms: int, limit: int) -> list[str]:
        """Return ids of finished runs that do not expire by themselves and ended before then, oldest first.

        Args:
            before_ms: Milliseconds since 1970, by the journal's clock.
            limit: How many at most.
        """
        ...

    async def delete(self, run_id: str, *, listed_s: float = 0.0) -> None:
        """Remove a finished run; nothing happens when it is gone already.

        Args:
            run_id: The run.
            listed_s: How long its summary stays for `record` and `runs`, in seconds; events and artifacts go at once.

        Raises:
            Misuse: The run has not ended.
        """
        ...

    async def room(self) -> float | None:
        """Return the share of the memory that may be used which is in use, 0 to 1; `None`: nothing bounds it."""
        ...

    async def aclose(self) -> None:
        """Write what is buffered and close connections."""
        ...
