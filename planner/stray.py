"""End or pass on a claimed run that cannot be driven here: nobody may any more, or its agent is not here.

None of this needs the agent's definition: the journal says enough.
"""

from ..memory.journal.contract import Claim
from . import events as ev
from .budget import budget_of, seconds_left
from .loop import Surroundings, tell
from .state import RunState, apply, fold, open_doubts

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.25, 60.0
"""Times after which a run is looked at again that this process could not carry on; each is twice the one before.

The first are short: while a new version is rolled out, the next worker may well be one that has the agent.
"""


async def drive_stray(claim: Claim, around: Surroundings, why: str) -> RunState:
    """Do for a claimed run whose agent is not here what can be done without it, and give the lease back.

    A run of which too many workers died fails, one that was cancelled is cancelled, one whose deadline passed
    expires. Any other is due again a little later, for a worker that has its agent.

    Args:
        claim: The run.
        around: The journal and the clock.
        why: What is missing here, for people.

    Raises:
        Fenced, JournalUnavailable: The run is not ours any more, or cannot be written.
    """
    state = fold(stored.event for stored in claim.events)
    if (closed := await close_hopeless(claim, state, around)) is not None:
        return closed
    if claim.cancel_requested is not None:
        doubt = "the run was cancelled before the result was stored"
        return await _close(claim, state, around, ev.RunCancelled(claim.cancel_requested), doubt)
    left = seconds_left(state, budget_of(state.created), around.now_ms())
    if left is not None and left <= 0 and state.status != "waiting":
        doubt = "the run expired before the result was stored"
        return await _close(claim, state, around, ev.RunExpired(f"the deadline passed while {why}"), doubt)
    return await give_away(claim, state, around, why)


async def close_hopeless(claim: Claim, state: RunState, around: Surroundings) -> RunState | None:
    """Fail a run of which too many workers died in a row; return its last state, or `None` if it may be driven."""
    if state.losses < around.max_losses:
        return None
    detail = f"{state.losses} workers in a row ended while they drove this run, without a step in between"
    doubt = "the worker ended before the result was stored"
    return await _close(claim, state, around, ev.RunFailed("poison", detail), doubt)


async def give_away(claim: Claim, state: RunState, around: Surroundings, why: str) -> RunState:
    """Release a run whose agent is not here, due again later and later the more often that happens in a row."""
    pause = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** _times_given_away(claim))
    left = seconds_left(state, budget_of(state.created), around.now_ms())
    released = ev.RunReleased("agent_missing", why, around.now_ms())
    state = _append(claim, state, around, released)
    await around.journal.release(claim.lease, due_in_s=pause if left is None else max(0.0, min(pause, left)))
    return state


def _times_given_away(claim: Claim) -> int:
    times = 0
    for stored in reversed(claim.events):
        if isinstance(stored.event, ev.RunReleased) and stored.event.reason == "agent_missing":
            times += 1
        elif not isinstance(stored.event, ev.RunClaimed):
            break
    return min(times, 16)


async def _close(claim: Claim, state: RunState, around: Surroundings, end: ev.FinalEvent, doubt: str) -> RunState:
    state = _append(claim, state, around, *open_doubts(state, doubt), end)
    await around.journal.barrier(claim.lease, durable=True)
    return state


def _append(claim: Claim, state: RunState, around: Surroundings, *events: ev.Event) -> RunState:
    for event in events:
        state = apply(state, event)
    around.journal.append(claim.lease, *events)
    if around.on_event:
        for event in events:
            tell(around.on_event, event)
    return state
