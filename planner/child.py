"""Run an agent as a tool of another run: a run of its own, with what is left of the outer run's budgets."""

import asyncio
import contextlib
import hashlib
import json
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

from ..errors import RunBusy, RunExists, TaskInvalid, ToolError
from ..tools.context import ChildRun, Context
from . import events as ev
from .budget import remaining
from .calls import ChildWaits
from .drive import LONGEST_OUTAGE_PAUSE_S, drive_claim
from .loop import RunLoop, Surroundings
from .state import RunState, fold
from .task import checked_task

if TYPE_CHECKING:
    from ..agents.agent import Agent
    from ..agents.limits import Limits

BUSY_POLL_S = 0.5
"""Seconds between two looks at a child run that another process still holds."""

_UNBOUNDED: dict[str, Any] = {
    "max_steps": sys.maxsize, "max_tokens": sys.maxsize, "max_tool_calls": sys.maxsize, "deadline_s": 1e12,
}  # fmt: skip
_SHARED = ("max_tokens", "max_tool_calls", "max_cost")
"""Budgets that calls of the same step have to share."""


async def run_child(parent: RunLoop, agent: "Agent[Any]", task: Any, context: Context[Any]) -> ChildRun:
    """Run an agent as a tool.

    The child's id follows from the call, the agent and the task, so a repeated call finds the same child and carries
    it on; so a child that waits lets the parent wait too. It shares what is left of the parent's budgets with the
    other agents that are called in the same step.

    Raises:
        ToolError: The task cannot be accepted.
        ChildWaits: The child waits, and the call may be made again. Inside of a `once` call it found no answer.
    """
    journal, above = parent.around.journal, parent.state.created
    try:
        accepted = checked_task(task)
    except TaskInvalid as exc:
        raise ToolError(str(exc)) from exc
    run_id = _child_id(above.run_id, context.call_id, agent.hash, accepted)
    created = ev.RunCreated(
        run_id=run_id, tenant=above.tenant, agent=agent.name, agent_hash=agent.hash, task=accepted,
        limits=agent.limits.within(_share(parent)).as_dict(), thread_id=above.thread_id, parent_run=above.run_id,
        parent_call=context.call_id, depth=above.depth + 1, created_ms=parent.around.now_ms(),
    )  # fmt: skip
    with contextlib.suppress(RunExists):
        await journal.create(created)
    try:
        state = await _see_through(agent, run_id, parent)
    except asyncio.CancelledError:
        with contextlib.suppress(Exception):
            spent = fold(stored.event for stored in await asyncio.shield(journal.read(run_id)))
            context.spend(spent.tokens)
        raise
    if state.status == "waiting" and _may_repeat(parent, context.call_id):
        raise ChildWaits(run_id, cast(ev.WaitReason, state.reason))
    if not state.is_final:
        await journal.request_cancel(run_id, "nobody_waits")
    if state.output is None:
        why = f"agent {agent.name!r} found no answer: {state.status} ({state.reason})"
        return ChildRun(None, state.tokens, why)
    return ChildRun(agent.parse_output(state.output), state.tokens)


def _may_repeat(parent: RunLoop, call_id: str) -> bool:
    """Return whether the call inside of which the child runs may be made again when the child goes on."""
    effects = [parent.blueprint.tools[each.call.tool].effect for each in parent.state.open if each.call.id == call_id]
    return "once" not in effects


def _child_id(run_id: str, call_id: str, agent_hash: str, task: Any) -> str:
    """Return the id of the run that a call starts: in the parent's shard, always the same for the same call."""
    pinned = json.dumps([run_id, call_id, agent_hash, task], sort_keys=True)
    return run_id[:14] + hashlib.blake2b(pinned.encode(), digest_size=10).hexdigest()


def _share(parent: RunLoop) -> "Limits":
    """Return what one of the agents called in this step may spend."""
    from ..agents.limits import Limits

    left = remaining(parent.state, parent.budget, parent.around.now_ms())
    tools = parent.blueprint.tools
    rivals = sum(
        not each.finished and each.call.tool in tools and tools[each.call.tool].agent is not None
        for each in parent.state.open
    )
    for name in _SHARED:
        if name in left and rivals > 1:
            left[name] = left[name] / rivals if name == "max_cost" else max(int(left[name]) // rivals, 1)
    return Limits(**{**_UNBOUNDED, **left})


async def _see_through(agent: "Agent[Any]", run_id: str, parent: RunLoop) -> RunState:
    """Drive the child to its end; one that another process still holds is waited for."""
    journal = parent.around.journal
    while True:
        try:
            claim = await journal.claim(run_id, "in-process", ttl_s=parent.around.lease_s)
        except RunBusy:
            state = fold(stored.event for stored in await journal.read(run_id))
            if state.is_final:
                return state
            await asyncio.sleep(BUSY_POLL_S)
        else:
            async with _own(agent, parent) as around:
                state = await drive_claim(agent, claim, around)
            if state.is_final or state.status == "waiting":
                return state
            await _pause(parent, state)


async def _pause(parent: RunLoop, state: RunState) -> None:
    """Wait before a child that was handed over is taken up again: its model is away, or this process drains."""
    await asyncio.sleep(min(LONGEST_OUTAGE_PAUSE_S, 2.0**state.outages) if state.outages else BUSY_POLL_S)
    while parent.around.stop and parent.around.stop() is not None:
        await asyncio.sleep(BUSY_POLL_S)


@contextlib.asynccontextmanager
async def _own(agent: "Agent[Any]", parent: RunLoop) -> Any:
    """Yield the child's surroundings: the parent's, with the model that the child's definition names."""
    around: Surroundings = replace(
        parent.around, on_event=None, on_delta=None, is_abandoned=lambda: parent.is_abandoned
    )
    if agent.model is None or (isinstance(agent.model, str) and around.follows_endpoint):
        yield around
    elif isinstance(agent.model, str):
        from ..inference.connect import connect

        async with (around.connect or connect)(agent.model) as endpoint:
            yield replace(around, endpoint=endpoint)
    else:
        yield replace(around, endpoint=agent.model)
