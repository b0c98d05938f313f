"""Drive a claimed run to its end or to where it waits, whatever happens on the way.

The outermost border of a run: every way out of the loop is turned here into the event that says so, or into a lease
that is given back, or passed on because the run is not ours any more.
"""

import asyncio
import contextlib
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from ..errors import AgentChanged, EndpointTimedOut, EndpointUnavailable, JournalError, ResourcesFailed
from ..memory.journal.contract import Claim
from . import events as ev
from .blueprint import blueprint_of
from .keeper import LeaseKeeper
from .loop import CancelRequested, RunLoop, Surroundings
from .state import RunState, fold, open_doubts

if TYPE_CHECKING:
    from ..agents.agent import Agent

CHANGED_AGENT_DUE_S = 60.0
"""Seconds after which a run is due again that this process cannot carry on, because its agent is another one here."""


async def drive_claim(agent: "Agent[Any]", claim: Claim, around: Surroundings) -> RunState:
    """Drive a claimed run until it is final or waits, and give the lease back.

    A cancelled caller cancels the run. A model that stays unreachable, and a failure that nobody foresaw, fail it.

    Raises:
        AgentChanged: The run pins another definition; the lease is given back.
        Fenced, JournalUnavailable: The run is not ours any more, or cannot be written; nothing was added.
    """
    state = fold(stored.event for stored in claim.events)
    if state.created.agent_hash != agent.hash:
        await around.journal.release(claim.lease, due_in_s=CHANGED_AGENT_DUE_S)
        raise AgentChanged(agent.name, state.created.run_id)
    loop = RunLoop(blueprint_of(agent), claim.lease, state, around)
    loop.keeper = keeper = LeaseKeeper(around.journal, claim.lease, around.lease_s)
    try:
        with keeper:
            await _drive(loop, claim.cancel_requested)
    except BaseException as exc:
        if not await _end(loop, keeper, exc):
            raise
    else:
        await _absorb(keeper)
    if not loop.state.is_final:
        await around.journal.release(claim.lease, due_in_s=loop.seconds_left())
    return loop.state


async def _drive(loop: RunLoop, cancel_requested: str | None) -> None:
    if cancel_requested is not None:
        raise CancelRequested(cancel_requested)
    if not loop.state.messages:
        await _start(loop)
    if loop.state.status == "waiting":
        loop.append(ev.RunResumed())
    await loop.drive()


async def _start(loop: RunLoop) -> None:
    """Render the head of the prompt and journal it: instructions may depend on the moment."""
    from ..agents.instructions import RunContext

    created = loop.state.created
    now = datetime.fromtimestamp(loop.around.now_ms() / 1000, UTC)
    context = RunContext(created.run_id, created.tenant, created.task, now, created.metadata)
    instructions = await loop.blueprint.agent.render_instructions(context)
    loop.append(ev.RunStarted(loop.blueprint.head(instructions)))


async def _end(loop: RunLoop, keeper: LeaseKeeper, exc: BaseException) -> bool:
    """Write the end that an exception means for the run; return whether that settles it."""
    if keeper.interrupted:
        keeper.forgive()
        if loop.state.is_final:  # the renewal met the final event; the barrier tells whether that one is stored
            await loop.around.journal.barrier(loop.lease, durable=True)
            return True
        if keeper.lost:
            raise keeper.lost from exc
        return await _cancel(loop, keeper.cancel_reason or "requested")
    if isinstance(exc, CancelRequested):
        return await _cancel(loop, exc.reason)
    if isinstance(exc, asyncio.CancelledError):
        await (_hand_over(loop) if loop.is_abandoned else _cancel(loop, "caller"))
        return False
    if isinstance(exc, EndpointUnavailable | EndpointTimedOut):
        return await _fail(loop, "model_unavailable", str(exc))
    if isinstance(exc, ResourcesFailed):
        return await _fail(loop, "resources_failed", str(exc))
    if isinstance(exc, JournalError) or not isinstance(exc, Exception):
        return False
    _log(loop, exc)
    return await _fail(loop, "internal_error", type(exc).__name__)


async def _absorb(keeper: LeaseKeeper) -> None:
    """Take back a cancellation by the keeper that came when the run had just ended by itself."""
    if keeper.interrupted:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(0)
        keeper.forgive()


async def _fail(loop: RunLoop, reason: str, detail: str) -> bool:
    if not loop.state.is_final:
        doubts = open_doubts(loop.state, "the run failed before the result was stored")
        loop.append(*doubts, ev.RunFailed(reason, detail))
    await loop.around.journal.barrier(loop.lease, durable=True)
    return True


async def _cancel(loop: RunLoop, reason: str) -> bool:
    """Write the end of a cancelled run, with what it leaves open; the write itself is not cancelled."""
    if not loop.state.is_final:
        doubts = open_doubts(loop.state, "the run was cancelled before the result was stored")
        loop.append(*doubts, ev.RunCancelled(reason))
    await asyncio.shield(loop.around.journal.barrier(loop.lease, durable=True))
    return True


async def _hand_over(loop: RunLoop) -> None:
    """Give back the lease of a child run whose parent is in other hands now: it will be carried on there."""
    await asyncio.shield(loop.around.journal.release(loop.lease, due_in_s=None))


def _log(loop: RunLoop, exc: BaseException) -> None:
    import structlog

    ids = {"run_id": loop.lease.run_id, "agent": loop.blueprint.agent.name}
    structlog.get_logger("loopwright.planner").error("run_crashed", kind=type(exc).__name__, exc_info=exc, **ids)
