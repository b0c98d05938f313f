"""Forking: a new run that goes on from the middle of another one, with something changed."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast

from ..agents.instructions import RunContext
from ..memory.journal.contract import Created
from ..memory.journal.ids import new_run_id
from ..planner.blueprint import blueprint_of
from ..planner.events import Event, RunCreated, RunStarted
from ..planner.fork import artifacts_of, forked
from ..planner.task import checked_task
from .caller import Caller
from .models import ForkRequest
from .ownership import own_record
from .service import Service
from .submit import GRACE_S, budget_of, idempotency_of

if TYPE_CHECKING:
    from ..agents.agent import Agent


async def fork(
    service: Service, caller: Caller, run_id: str, request: ForkRequest, *, idempotency_key: str | None = None
) -> tuple[Created, RunCreated]:
    """Take on a run that begins with the first steps of another one, and wake a worker.

    It is a run of the present definition of the same agent. It belongs to no thread.

    Raises:
        RunNotFound: There is no such run of this tenant.
        ForkInvalid: It has no such step, or the step has calls without a result.
        AgentNotFound, TaskInvalid, IdempotencyConflict, StoreFull, JournalUnavailable: As for `submit`.
    """
    await own_record(service, caller, run_id)
    snapshot = await service.store.journal.snapshot(run_id)
    source = [each.event for each in snapshot.events]
    first = cast(RunCreated, source[0])
    agent = service.registry.get(first.agent)
    created = RunCreated(
        run_id=new_run_id(caller.tenant),
        tenant=caller.tenant,
        agent=agent.name,
        agent_hash=agent.hash,
        task=first.task if request.task is None else checked_task(request.task),
        limits=budget_of(agent, request.limits).as_dict(),
        metadata=request.metadata,
        created_ms=service.now_ms(),
        model=request.model or first.model,
        priority=first.priority,
        forked_from=run_id,
        by=caller.key_id,
    )
    events = await _taken_over(agent, source, created, request.step)
    done = await service.store.journal.create(
        created,
        events=events,
        artifacts={name: snapshot.artifacts[name] for name in artifacts_of(events) if name in snapshot.artifacts},
        due_in_s=GRACE_S,
        idempotency=idempotency_of(idempotency_key, f"fork of {run_id}", request) if idempotency_key else None,
    )
    if done.is_new:
        await service.doorbell.ring(created.run_id, created.priority)
    return done, created


async def _taken_over(agent: "Agent[Any]", source: list[Event], created: RunCreated, step: int) -> tuple[Event, ...]:
    """Return the events that the fork begins with; an agent that has changed since gets its own head."""
    first = cast(RunCreated, source[0])
    if step == 0 and not any(isinstance(each, RunStarted) for each in source):
        return ()
    head = None
    if first.agent_hash != agent.hash:
        now = datetime.fromtimestamp(created.created_ms / 1000, UTC)
        context = RunContext(created.run_id, created.tenant, created.task, now, created.metadata)
        head = blueprint_of(agent).head(await agent.render_instructions(context))
    return forked(source, created, step, head)
