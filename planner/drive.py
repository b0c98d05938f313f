"""Drive a claimed run to its end or to where it waits, whatever happens on the way.

The outermost border of a run: every way out of the loop is turned here into the event that says so, or into a lease
that is given back, or passed on because the run is not ours any more.
"""

import asyncio
import contextlib
import random
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from ..errors import AgentChanged, EndpointTimedOut, EndpointUnavailable, JournalError, ResourcesFailed
from ..memory.journal.contract import Claim
from . import events as ev
from .blueprint import blueprint_of
from .family import PARENT_ENDED, is_orphan, see_to_awaited, see_to_family
from .keeper import LeaseKeeper
from .loop import CancelRequested, RunLoop, Surroundings
from .state import RunState, fold, open_doubts
from .stray import close_hopeless, give_away

if TYPE_CHECKING:
    from ..agents.agent import Agent

LONGEST_OUTAGE_PAUSE_S = 60.0
"""Longest wait between two looks at a model that is away, in seconds; the first is two, doubled in between."""


async def drive_claim(agent: "Agent[Any]", claim: Claim, around: Surroundings) -> RunState:
    """Drive a claimed run until it is final, waits or is handed over, and give the lease back.

    A cancelled caller cancels the run, unless `around.stop` says that the process only lets go of it. A failure that
    nobody foresaw fails the run, a model that stays unreachable does once `around.model_patience_s` is over, and a
    run of which `around.max_losses` workers died fails before anything else is done.

    Raises:
        AgentChanged: The run pins another definition; the lease is given back.
        Fenced, JournalUnavailable: The run is not ours any more, or cannot be written; nothing was added.
    """
    state = fold(stored.event for stored in claim.events)
    if (closed := await close_hopeless(claim, state, around)) is not None:
        return closed
    if state.created.agent_hash != agent.hash:
        await give_away(claim, state, around, "its agent has another definition here")
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
    if loop.state.is_final:
        await see_to_family(loop)
    else:
        await around.journal.release(claim.lease, due_in_s=_due_in_s(loop))
        await see_to_awaited(loop)
    return loop.state


def _due_in_s(loop: RunLoop) -> float | None:
    """Return when somebody must look at a run that was given back; `None`: never."""
    state = loop.state
    if state.status == "waiting":
        return loop.due_in_s()
    if not state.outages:
        return 0.0
    pause = min(LONGEST_OUTAGE_PAUSE_S, 2.0**state.outages) * random.uniform(1.0, 1.25)
    left = loop.seconds_left()
    return pause if left is None else max(0.0, min(pause, left))


async def _drive(loop: RunLoop, cancel_requested: str | None) -> None:
    if cancel_requested is not None:
        raise CancelRequested(cancel_requested)
    if await is_orphan(loop):
        raise CancelRequested(PARENT_ENDED)
    if not loop.state.messages:
        await _start(loop)
    if loop.state.status == "waiting":
        loop.append(ev.RunResumed(loop.around.now_ms()))
    await loop.drive()


async def _start(loop: RunLoop) -> None:
    """Render the head of the prompt and journal it: instructions may depend on the moment."""
    from ..agents.instructions import RunContext

    created = loop.state.created
    now = datetime.fromtimestamp(loop.around.now_ms() / 1000, UTC)
    context = RunContext(created.run_id, created.tenant, created.task, now, created.metadata)
    instructions = await loop.blueprint.agent.render_instructions(context)
    history = await loop.around.history(loop.state) if loop.around.history else ()
    loop.append(ev.RunStarted(loop.blueprint.head(instructions), history))


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
        await _interrupted(loop)
        return False
    if isinstance(exc, EndpointUnavailable | EndpointTimedOut):
        return await _model_is_away(loop, str(exc))
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


async def _interrupted(loop: RunLoop) -> None:
    """Let go of a run whose driving task was cancelled: by the process that drains, or by whoever wants its end."""
    reason = loop.around.stop() if loop.around.stop else None
    if loop.is_abandoned:  # a child run whose parent is in other hands now: it will be carried on there
        await asyncio.shield(_hand_over(loop, "parent_lost", None))
    elif reason is not None:
        await asyncio.shield(_hand_over(loop, reason, 0.0))
    else:
        await _cancel(loop, "caller")


async def _hand_over(loop: RunLoop, reason: str, due_in_s: float | None) -> None:
    if not loop.state.is_final and loop.state.is_held:
        loop.append(ev.RunReleased(reason, at_ms=loop.around.now_ms()))
    await loop.around.journal.release(loop.lease, due_in_s=due_in_s)


async def _model_is_away(loop: RunLoop, detail: str) -> bool:
    """Give the run back until the model may be there again; fail it when that has taken too long."""
    patience_s, now = loop.around.model_patience_s, loop.around.now_ms()
    since = loop.state.outage_ms if loop.state.outages else now
    if patience_s is None or now - since >= patience_s * 1000:
        return await _fail(loop, "model_unavailable", detail)
    loop.append(ev.RunReleased("model_unavailable", detail, now))
    return True


def _log(loop: RunLoop, exc: BaseException) -> None:
    import structlog

    ids = {"run_id": loop.lease.run_id, "agent": loop.blueprint.agent.name}
    structlog.get_logger("loopwright.planner").error("run_crashed", kind=type(exc).__name__, exc_info=exc, **ids)
