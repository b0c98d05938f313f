"""Look at a run: claim it, drive it, give it back.

    wake(run id) ─► claim ─► suspect?  ─► quarantine.py: alone, in a process of its own
                         ├─► no agent? ─► planner/stray.py: due again later, for a worker that has it
                         └─► planner/drive.py ─► final, waiting, or handed over: then somebody is rung for it

Looking at a run that is finished or in other hands costs one round trip and changes nothing, so nobody has to know
whether a wake-up was sent twice.
"""

import asyncio
from collections.abc import Callable, Collection
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import structlog

from ..agents.resources import ResourcePool
from ..errors import AgentNotFound, Fenced, JournalCorrupt, LoopwrightError, RunBusy, RunNotFound
from ..inference.endpoint import Delta
from ..memory.journal.contract import Claim
from ..planner import events as ev
from ..planner.child import run_child
from ..planner.drive import drive_claim
from ..planner.loop import Prices, Surroundings, wall_ms
from ..planner.state import RunState, fold
from ..planner.stray import drive_stray
from .doorbell import Doorbell
from .endpoints import Closed, Endpoints, Measured
from .figures import RunFigures

if TYPE_CHECKING:
    from ..agents.agent import Agent
    from ..agents.registry import Registry
    from ..memory.store import Store
    from ..planner.remote import RemoteTools
    from ..settings import Settings

ALONE = "/alone"
"""How the name of a worker ends that drives one run at a time, in a process of its own."""

SUSPECT_DUE_S = 60.0
"""Seconds after which a suspect is due again if the process that was to drive it alone never came to that."""

LET_GO_S = 1.2
"""How long runs may take to be given back once they were cancelled, in seconds."""

_PROGRESS = frozenset({"call.finished", "step.rejected", "turn.taken"})
"""Events after which a run is not suspected any more (`RunState.losses`)."""

_log = structlog.get_logger(__name__)


class Isolation(Protocol):
    """Drives suspects where they can harm nobody."""

    async def drive(self, run_id: str) -> None:
        """Return when the run made a step there, or its process died of it."""
        ...

    def stop(self, *, now: bool = False) -> None:
        """Let the run that is driven go at its next step boundary, or now."""
        ...


class Runner:
    """Drives the runs of a worker process. Belongs to one event loop.

    Args:
        store: Journal, threads, live feed, metrics.
        registry: The agents that are known here.
        settings: Leases, budgets of patience, prices, model server.
        doorbell: Rung for runs that are handed over.
        name: The worker's id.
        remote: Sends calls of queued tools away.
        isolation: Drives suspects; without one they are driven here like all others.
    """

    def __init__(
        self,
        store: "Store",
        registry: "Registry",
        settings: "Settings",
        doorbell: Doorbell,
        *,
        name: str,
        remote: "RemoteTools | None" = None,
        isolation: Isolation | None = None,
    ) -> None:
        self.name = name
        self._store = store
        self._registry = registry
        self._settings = settings
        self._doorbell = doorbell
        self._remote = remote
        self._isolation = isolation
        self._is_alone = name.endswith(ALONE)
        self._endpoints = Endpoints(settings)
        self._resources = ResourcePool()
        self._prices = Prices(settings.price_prompt, settings.price_cached, settings.price_completion)
        self._tasks: dict[str, asyncio.Task[Any]] = {}
        self._stopping: str | None = None
        self._interrupted: set[str] = set()
        self._asked_to_go: frozenset[str] = frozenset()

    @property
    def busy(self) -> int:
        """How many runs are looked at or driven."""
        return len(self._tasks)

    @property
    def running(self) -> list[str]:
        """The ids of these runs, those that were taken first come first."""
        return list(self._tasks)

    def ask_to_go(self, run_ids: Collection[str]) -> None:
        """Have these runs, and no others that were asked before, handed over at their next step boundary."""
        self._asked_to_go = frozenset(run_ids)

    async def wake(self, run_id: str) -> None:
        """Look at a run, and drive it as far as it goes. A caller that is cancelled hands the run over as it is."""
        if self._stopping is not None:
            self._doorbell.ring_soon(run_id)
            return
        if run_id in self._tasks:
            return
        self._tasks[run_id] = task = asyncio.create_task(self._look_safely(run_id))
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            self._interrupted.add(run_id)
            task.cancel()
            await asyncio.wait([task], timeout=LET_GO_S)
            raise

    async def drain(self, grace_s: float) -> None:
        """Hand all runs over: at their next step boundary, or as they are once the time is up."""
        self.stop("drain")
        if self._tasks and grace_s > 0:
            await asyncio.wait(list(self._tasks.values()), timeout=grace_s)
        await self.let_go()

    def stop(self, reason: str) -> None:
        """Take nothing more, and hand each run over at its next step boundary."""
        self._stopping = self._stopping or reason
        if self._isolation is not None:
            self._isolation.stop()

    async def let_go(self) -> None:
        """Interrupt what is still driven and hand it over as it is; calls in flight follow their effect."""
        self.stop("drain")
        if self._isolation is not None:
            self._isolation.stop(now=True)
        for task in self._tasks.values():
            task.cancel()
        if self._tasks:
            await asyncio.wait(list(self._tasks.values()), timeout=LET_GO_S)

    async def aclose(self) -> None:
        """Close models and the agents' resources."""
        await self._endpoints.aclose()
        await self._resources.aclose()

    async def _look_safely(self, run_id: str) -> None:
        """Look at a run; whatever goes wrong is logged, and the run is due again when its lease is over."""
        try:
            await self._look(run_id)
        except asyncio.CancelledError:
            if self._stopping is None and run_id not in self._interrupted:
                raise
        except (RunBusy, RunNotFound):
            pass
        except Fenced:
            _log.info("run_lost", run_id=run_id)
        except LoopwrightError as exc:
            _log.warning("run_dropped", run_id=run_id, problem=str(exc))
        except Exception as exc:  # the outermost border of a run
            _log.error("run_dropped", run_id=run_id, kind=type(exc).__name__, exc_info=exc)
        finally:
            del self._tasks[run_id]
            self._interrupted.discard(run_id)

    async def _look(self, run_id: str) -> None:
        claim = await self._store.journal.claim(run_id, self.name, ttl_s=self._settings.lease_s)
        try:
            if self._isolation is not None and self._is_suspect(claim):
                await self._isolate(claim, self._isolation)
            else:
                await self._drive(claim)
        except JournalCorrupt as exc:
            _log.error("journal_corrupt", run_id=run_id, problem=str(exc))
            self._store.journal.append(claim.lease, ev.RunFailed("journal_corrupt", str(exc)))
            await self._store.journal.barrier(claim.lease, durable=True)

    async def _drive(self, claim: Claim) -> None:
        created = claim.events[0].event
        if not isinstance(created, ev.RunCreated):
            raise JournalCorrupt("the journal does not begin with run.created")
        figures = RunFigures(self._store.metrics, created.agent)
        if claim.lease.epoch == 1 and created.thread_id is None:  # in a thread it may have waited for its turn
            figures.claimed(claim.events[-1].at_ms - max(claim.events[0].at_ms, created.created_ms))
        agent, why = self._agent_of(created)
        if agent is None:
            state = await drive_stray(claim, self._surroundings(created, figures, Closed(RunBusy(why))), why)
        else:
            try:
                async with self._endpoints.of(agent, created.model) as model:
                    around = self._surroundings(created, figures, Measured(model, figures.asked))
                    state = await drive_claim(agent, claim, around)
            except asyncio.CancelledError:
                self._doorbell.ring_soon(created.run_id, created.priority)
                raise
            if state.status == "running" and not state.is_held and not state.outages:
                self._doorbell.ring_soon(created.run_id, created.priority)
        figures.ended(state, wall_ms())

    def _agent_of(self, created: ev.RunCreated) -> "tuple[Agent[Any] | None, str]":
        """Return the run's agent, or why this process cannot drive the run."""
        try:
            agent = self._registry.get(created.agent)
        except AgentNotFound:
            return None, f"no worker with agent {created.agent!r} took it"
        if agent.hash != created.agent_hash:
            return None, f"no worker with the run's definition of agent {created.agent!r} took it"
        return agent, ""

    def _surroundings(self, created: ev.RunCreated, figures: RunFigures, endpoint: Any) -> Surroundings:
        store, settings = self._store, self._settings
        progress = _Progress(figures) if self._is_alone else None
        return Surroundings(
            endpoint=endpoint,
            journal=store.journal,
            prices=self._prices,
            resources=self._resources,
            run_child=run_child,
            on_event=progress.see if progress else figures.see,
            on_delta=partial(self._show_text, created.run_id),
            on_progress=partial(self._show_progress, created.run_id),
            lease_s=settings.lease_s,
            connect=self._endpoints.borrow,
            history=self._history,
            stop=partial(self._reason_to_stop, created.run_id, progress),
            max_losses=2**31 if self._is_alone else settings.max_losses,
            model_patience_s=settings.model_patience_s,
            follows_endpoint=False,
            approval_ttl_s=settings.approval_ttl_s,
            remote=self._remote,
        )

    def _reason_to_stop(self, run_id: str, progress: "_Progress | None") -> str | None:
        """Return why a run is to be handed over; also asked by the runs that it started."""
        if run_id in self._interrupted:
            return "interrupted"
        if self._stopping is not None:
            return self._stopping
        if progress is not None and progress.is_made:
            return "stepped"
        return "turn" if run_id in self._asked_to_go else None

    async def _history(self, state: RunState) -> tuple[ev.Said, ...]:
        created = state.created
        if created.thread_id is None or created.parent_run is not None:
            return ()
        return await self._store.threads.history(created.tenant, created.thread_id)

    def _show_text(self, run_id: str, step: int, delta: Delta) -> None:
        if delta.text:
            self._store.live.publish(run_id, "delta", {"step": step, "text": delta.text})

    def _show_progress(self, run_id: str, call_id: str, text: str, fraction: float | None) -> None:
        self._store.live.publish(run_id, "progress", {"call_id": call_id, "message": text, "fraction": fraction})

    def _is_suspect(self, claim: Claim) -> bool:
        """Return whether a run has to be driven alone: one more death would convict it, or it died among others only.

        What kills a worker is a call; so runs that only wait for the model are given one more chance among others.
        """
        claims = [at for at, each in enumerate(claim.events) if isinstance(each.event, ev.RunClaimed)]
        if len(claims) < 2:
            return False
        state, most = fold(each.event for each in claim.events), self._settings.max_losses
        if state.losses < most:
            return bool(state.open) and state.losses >= max(1, most - 1)
        before = [each.event for each in claim.events[claims[-2] : claims[-1]]]
        died_alone = isinstance(before[0], ev.RunClaimed) and before[0].worker.endswith(ALONE)
        return not died_alone or any(isinstance(each, ev.RunReleased) for each in before)

    async def _isolate(self, claim: Claim, isolation: Isolation) -> None:
        """Give a suspect back and have it driven alone. Nobody is rung: the other process does that."""
        journal, run_id = self._store.journal, claim.lease.run_id
        journal.append(claim.lease, ev.RunReleased("suspect", "driven alone from here", wall_ms()))
        await journal.release(claim.lease, due_in_s=SUSPECT_DUE_S)
        _log.warning("run_suspected", run_id=run_id)
        await isolation.drive(run_id)


class _Progress:
    """Notices when a run that is driven alone has done what clears it of suspicion."""

    def __init__(self, figures: RunFigures) -> None:
        self.is_made = False
        self._see: Callable[[ev.Event], None] = figures.see

    def see(self, event: ev.Event) -> None:
        self.is_made = self.is_made or event.type in _PROGRESS
        self._see(event)
