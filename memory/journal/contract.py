"""The contract of a journal: fenced, append-only, readable by anyone at any time.

Writing needs a lease. `append` only buffers, so that all runs of a process share one round trip (group commit);
`barrier` waits until everything appended under the lease is stored, and with `durable=True` until it is durable
in the mode that the journal declares. A tool with effects is sent only behind a durable barrier.
"""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

from ...planner.events import Event, RunCreated, Status

HELD = "another process holds it, or held it until it was killed; try again when its lease (15 s by default) is over"
"""Why a run with a live lease cannot be claimed."""

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
    """The summary of a run, for lists; the journal's events are the truth behind it."""

    run_id: str
    tenant: str
    agent: str
    status: Status
    reason: str | None
    epoch: int
    step: int
    created_ms: int
    updated_ms: int


class Journal(Protocol):
    """Where runs are written down. Implementations: in memory, Redis."""

    @property
    def durability(self) -> Durability:
        """What a durable barrier promises here."""
        ...

    async def create(self, created: RunCreated) -> None:
        """Accept a run: its first event, its listing and its place among the due runs, in one transition.

        Raises:
            RunExists: A run of that id is there already; nothing was changed.
            JournalUnavailable: Not known whether it was accepted; a retry with the same id tells.
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
        """Return a tenant's runs, newest first, from behind the run id `before`."""
        ...

    async def artifact(self, run_id: str, artifact_id: str) -> str | None:
        """Return a stored artifact of the run, or `None`."""
        ...

    async def request_cancel(self, run_id: str, reason: str) -> None:
        """Ask the run's owner to stop; a run without a live lease becomes due at once. Raises RunNotFound."""
        ...

    async def due(self, *, limit: int = 100) -> list[str]:
        """Return ids of runs that somebody must look at now, and push each back so that others do not see it too.

        A run is due from its creation until it is claimed, and again when its lease ran out or a release said so.
        """
        ...

    async def aclose(self) -> None:
        """Write what is buffered and close connections."""
        ...
