"""Taking runs on: from a request to a first event in the journal and a worker that is woken.

One function for all who submit: `POST /v1/runs`, batches, schedules. Needs no web framework.
"""

import hashlib
import json
from dataclasses import replace
from typing import Any

from ..agents.agent import Agent
from ..agents.limits import Limits
from ..memory.journal.contract import Created, Idempotency
from ..memory.journal.ids import new_run_id
from ..planner.events import RunCreated
from ..planner.task import checked_task
from ..workers.receivers import check_webhook_url
from .caller import Caller
from .models import Request, RunLimits, RunRequest
from .service import Service

GRACE_S = 5.0
"""When the sweeper first looks at a run whose worker was rung for, in seconds: a lost ring costs that much."""

IDEMPOTENCY_S = 86_400.0
"""For how long an idempotency key is remembered, in seconds."""


async def submit(
    service: Service, caller: Caller, request: RunRequest, *, idempotency_key: str | None = None
) -> tuple[Created, RunCreated]:
    """Take on a run and wake a worker.

    Returns:
        What became of it, and the first event; with a repeated key the event was not stored, and `Created.run_id`
        is the run of the first request.

    Raises:
        AgentNotFound, TaskInvalid, WebhookRefused: The request asks for something that is not there or not possible.
        IdempotencyConflict: The key was used for another request.
        ThreadBusy: Another run has the thread.
        StoreFull, JournalUnavailable: Nothing was taken on, or it is not known; the same key makes a retry safe.
    """
    agent = service.registry.get(request.agent)
    if request.webhook is not None:
        check_webhook_url(str(request.webhook), service.settings)
    now_ms = service.now_ms()
    start_ms = now_ms if request.after is None else max(now_ms, int(request.after.timestamp() * 1000))
    created = _created(agent, caller, request, start_ms)
    delay_s = (start_ms - now_ms) / 1000
    done = await service.store.journal.create(
        created,
        due_in_s=delay_s or _grace_s(request),
        idempotency=None if idempotency_key is None else idempotency_of(idempotency_key, "run", request),
        overlap=request.overlap,
    )
    if done.is_new and not done.is_queued and not delay_s:
        await service.doorbell.ring(created.run_id, created.priority)
    return done, created


def _grace_s(request: RunRequest) -> float:
    """Return when a run that is to start now is due: one that may wait for its turn is rung for then, not now."""
    may_wait = request.thread_id is not None and request.overlap != "reject"
    return 0.0 if may_wait else GRACE_S


def idempotency_of(key: str, purpose: str, request: Request) -> Idempotency:
    """Return what makes a request find its first self: the key, and a hash of purpose and body."""
    body = json.dumps([purpose, request.model_dump(mode="json")], sort_keys=True, ensure_ascii=False)
    return Idempotency(key, hashlib.blake2b(body.encode(), digest_size=16).hexdigest(), IDEMPOTENCY_S)


def budget_of(agent: Agent[Any], asked: RunLimits | None) -> Limits:
    """Return the agent's limits, each as small as the request asks."""
    if asked is None:
        return agent.limits
    return agent.limits.within(replace(agent.limits, **asked.model_dump(exclude_none=True)))


def _created(agent: Agent[Any], caller: Caller, request: RunRequest, start_ms: int) -> RunCreated:
    return RunCreated(
        run_id=new_run_id(caller.tenant),
        tenant=caller.tenant,
        agent=agent.name,
        agent_hash=agent.hash,
        task=checked_task(request.task),
        limits=budget_of(agent, request.limits).as_dict(),
        thread_id=request.thread_id,
        metadata=request.metadata,
        created_ms=start_ms,
        model=request.model,
        priority=request.priority,
        webhook=None if request.webhook is None else str(request.webhook),
        by=caller.key_id,
    )
