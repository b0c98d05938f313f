"""Run an agent in this process: create, claim, drive, and turn the end into a result.

The same `drive_claim` serves a worker that takes over a run from a journal, so in-process runs and durable ones
differ in their journal only.
"""

import asyncio
import hashlib
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from pydantic_core import from_json, to_json

from ..errors import (
    AgentChanged,
    EndpointTimedOut,
    EndpointUnavailable,
    ResourcesFailed,
    RunBusy,
    RunExists,
    RunIncomplete,
    TaskInvalid,
)
from ..memory.journal.contract import Claim, Journal
from ..memory.journal.ids import new_run_id
from ..tools.context import ChildRun, Context
from . import events as ev
from .blueprint import blueprint_of
from .budget import remaining
from .keeper import LeaseKeeper
from .loop import RunLoop, Surroundings
from .state import RunState, fold

if TYPE_CHECKING:
    from ..agents.agent import Agent
    from ..agents.limits import Limits
    from ..inference.endpoint import Endpoint

Out = TypeVar("Out")
MAX_TASK_BYTES = 1_048_576
"""Largest task, as JSON."""

_ALL: dict[str, Any] = {"max_steps": sys.maxsize, "max_tokens": sys.maxsize, "max_tool_calls": sys.maxsize}
_ALL["deadline_s"] = 1e12


@dataclass(frozen=True, slots=True)
class RunResult(Generic[Out]):
    """How a run ended, or why it waits.

    Attributes:
        agent: Whose run it was.
        state: The last state: status, reason, prompt, tokens, everything.
    """

    agent: "Agent[Out]"
    state: RunState

    @property
    def run_id(self) -> str:
        """The run's id in its journal."""
        return self.state.created.run_id

    @property
    def status(self) -> ev.Status:
        """`succeeded`, another final status, or `waiting`."""
        return self.state.status

    @property
    def steps(self) -> int:
        """Steps the model took."""
        return self.state.step

    @property
    def output(self) -> Out:
        """The answer, as a value of the agent's output type.

        Raises:
            RunIncomplete: The run has no answer; the error says where it stands and why.
        """
        if self.state.output is None:
            raise RunIncomplete(self.run_id, self.status, self.state.reason or "", self.state.detail)
        return self.agent.parse_output(self.state.output)


async def run_agent(
    agent: "Agent[Out]",
    task: Any,
    *,
    endpoint: "Endpoint | None" = None,
    journal: Journal | None = None,
    tenant: str = "local",
    run_id: str | None = None,
    limits: "Limits | None" = None,
    thread_id: str | None = None,
    metadata: Mapping[str, Any] | None = None,
    **hooks: Any,
) -> RunResult[Out]:
    """Run an agent on a task in this process.

    Args:
        agent: The definition.
        task: Text, or any JSON value.
        endpoint: The model; without one the agent's own, else the one that the settings name.
        journal: Where to write the run down; without one in memory, gone with the result.
        tenant: Whose run it is.
        run_id: Id to use; a run of that id must not exist.
        limits: Budgets, where they are smaller than the agent's own.
        thread_id: Conversation that the run belongs to.
        metadata: JSON object kept with the run.
        **hooks: Fields of `Surroundings`, such as `on_event`, `review`, `prices`, `resources`, `now_ms`.

    Returns:
        The result, also of a run that failed; a model that cannot be reached is a failed run.

    Raises:
        TaskInvalid: The task is empty, not JSON or too large.
        RunExists: `run_id` is taken.
        JournalUnavailable: The run could not be written down; nothing was started.
    """
    from .surroundings import surroundings

    async with surroundings(agent, endpoint, journal, hooks) as around:
        budget = agent.limits if limits is None else agent.limits.within(limits)
        created = ev.RunCreated(
            run_id=run_id or new_run_id(tenant), tenant=tenant, agent=agent.name, agent_hash=agent.hash,
            task=checked_task(task), limits=budget.as_dict(), thread_id=thread_id, metadata=metadata or {},
            created_ms=around.now_ms(),
        )  # fmt: skip
        await around.journal.create(created)
        if around.on_event:
            around.on_event(created)
        claim = await around.journal.claim(created.run_id, "in-process", ttl_s=around.lease_s)
        return RunResult(agent, await drive_claim(agent, claim, around))


async def resume_run(
    agent: "Agent[Out]",
    run_id: str,
    *,
    journal: Journal,
    endpoint: "Endpoint | None" = None,
    **hooks: Any,
) -> RunResult[Out]:
    """Take up a run where its journal ends: after a crash, or when what it waited for has come.

    Raises:
        RunNotFound, RunBusy: There is no such run, it is final, or another process holds it.
        AgentChanged: The run was started with another definition.
    """
    from .surroundings import surroundings

    async with surroundings(agent, endpoint, journal, hooks) as around:
        claim = await journal.claim(run_id, "in-process", ttl_s=around.lease_s)
        return RunResult(agent, await drive_claim(agent, claim, around))


async def drive_claim(agent: "Agent[Any]", claim: Claim, around: Surroundings) -> RunState:
    """Drive a claimed run until it is final or waits, and give the lease back.

    A cancelled caller cancels the run. A model that stays unreachable fails it.

    Raises:
        AgentChanged: The run pins another definition; the lease is given back.
        Fenced, JournalUnavailable: The run is not ours any more, or cannot be written; nothing was added.
    """
    state = fold(stored.event for stored in claim.events)
    if state.created.agent_hash != agent.hash:
        await around.journal.release(claim.lease, due_in_s=None)
        raise AgentChanged(agent.name, state.created.run_id)
    loop = RunLoop(blueprint_of(agent), claim.lease, state, around)
    keeper = LeaseKeeper(around.journal, claim.lease, around.lease_s)
    try:
        with keeper:
            await _drive(loop)
    except asyncio.CancelledError:
        if not keeper.interrupted:
            await _cancelled(loop, "caller")
            raise
        keeper.forgive()
        if keeper.lost:
            raise keeper.lost from None
        await _cancelled(loop, keeper.cancel_reason or "requested")
    if not loop.state.is_final:
        await around.journal.release(claim.lease, due_in_s=None)
    return loop.state


async def _drive(loop: RunLoop) -> None:
    try:
        if not loop.state.messages:
            await _start(loop)
        if loop.state.status == "waiting":
            loop.append(ev.RunResumed())
        await loop.drive()
    except (EndpointUnavailable, EndpointTimedOut) as exc:
        await _fail(loop, "model_unavailable", str(exc))
    except ResourcesFailed as exc:
        await _fail(loop, "resources_failed", str(exc))


async def _start(loop: RunLoop) -> None:
    """Render the head of the prompt and journal it: instructions may depend on the moment."""
    from ..agents.instructions import RunContext

    created = loop.state.created
    now = datetime.fromtimestamp(loop.around.now_ms() / 1000, UTC)
    context = RunContext(created.run_id, created.tenant, created.task, now, created.metadata)
    instructions = await loop.blueprint.agent.render_instructions(context)
    loop.append(ev.RunStarted(loop.blueprint.head(instructions)))


async def _fail(loop: RunLoop, reason: str, detail: str) -> None:
    loop.append(ev.RunFailed(reason, detail))
    await loop.around.journal.barrier(loop.lease, durable=True)


async def _cancelled(loop: RunLoop, reason: str) -> None:
    """Write the end of a cancelled run; the write itself is not cancelled."""
    if not loop.state.is_final:
        loop.append(ev.RunCancelled(reason))
    await asyncio.shield(loop.around.journal.barrier(loop.lease, durable=True))


async def run_child(parent: RunLoop, agent: "Agent[Any]", task: Any, context: Context[Any]) -> ChildRun:
    """Run an agent as a tool: a run of its own with what is left of the parent's budgets.

    Its id follows from the parent's call, so a repeated call finds the same child and carries it on.
    """
    from ..agents.limits import Limits

    journal, above = parent.around.journal, parent.state.created
    run_id = _child_id(above.run_id, context.call_id)
    left: dict[str, Any] = {**_ALL, **remaining(parent.state, parent.budget, parent.around.now_ms())}
    budget = agent.limits.within(Limits(**left))
    created = ev.RunCreated(
        run_id=run_id, tenant=above.tenant, agent=agent.name, agent_hash=agent.hash, task=checked_task(task),
        limits=budget.as_dict(), thread_id=above.thread_id, parent_run=above.run_id, parent_call=context.call_id,
        depth=above.depth + 1, created_ms=parent.around.now_ms(),
    )  # fmt: skip
    with suppress(RunExists):
        await journal.create(created)
    state = await _child_state(agent, run_id, parent.around)
    if state.output is None:
        why = f"agent {agent.name!r} found no answer: {state.status} ({state.reason})"
        return ChildRun(None, state.tokens, why)
    return ChildRun(agent.parse_output(state.output), state.tokens)


def _child_id(run_id: str, call_id: str) -> str:
    """Return the id of the run that a call starts: in the parent's shard, always the same for the same call."""
    return run_id[:14] + hashlib.blake2b(f"{run_id}/{call_id}".encode(), digest_size=10).hexdigest()


async def _child_state(agent: "Agent[Any]", run_id: str, around: Surroundings) -> RunState:
    try:
        claim = await around.journal.claim(run_id, "in-process", ttl_s=around.lease_s)
    except RunBusy:
        state = fold(stored.event for stored in await around.journal.read(run_id))
        if not state.is_final:
            raise
        return state
    endpoint = around.endpoint if agent.model is None or isinstance(agent.model, str) else agent.model
    return await drive_claim(agent, claim, replace(around, endpoint=endpoint, on_event=None, on_delta=None))


def checked_task(task: Any) -> Any:
    """Return a task as plain JSON values.

    Raises:
        TaskInvalid: It is empty, not JSON or too large.
    """
    try:
        text = to_json(task, inf_nan_mode="strings")
    except ValueError as exc:
        raise TaskInvalid(f"it is not JSON: {exc}") from exc
    if len(text) > MAX_TASK_BYTES:
        raise TaskInvalid(f"it has {len(text)} bytes, the most is {MAX_TASK_BYTES}")
    if task is None or (isinstance(task, str) and not task.strip()):
        raise TaskInvalid("it is empty")
    return task if isinstance(task, str) else from_json(text)
