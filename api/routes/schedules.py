"""Routes of schedules: tasks that are submitted again and again."""

import hashlib
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Response

from ...errors import ForOperator, LoopwrightError, ScheduleInvalid, ScheduleNotFound
from ...memory.schedules import Fired, ScheduleRecord
from ...planner.task import checked_task
from ...workers.cron import next_moment_ms
from ...workers.receivers import check_webhook_url
from ...workers.scheduler import request_of
from ..caller import Caller
from ..deps import ReadCaller, RunsCaller, ServiceDep
from ..models import Firing, Name, Page, Run, RunRequest, Schedule, ScheduleChange, ScheduleRequest
from ..service import Service
from ..submit import submit
from ..views import answer, moment, queued_run, run_of
from .runs import IdempotencyKey

router = APIRouter()

ScheduleId = Annotated[Name, Path(description="Id of the schedule.")]
MAX_RUN_BYTES = 65_536
"""Largest request of a schedule, as JSON: lists show two hundred of them, and there may be a thousand."""

_TRIES = 10
"""How often a change is put on top of others that came at the same time."""


@router.post("/schedules", operation_id="create_schedule", status_code=201, response_model=Schedule)
async def create_schedule(
    body: ScheduleRequest, service: ServiceDep, caller: RunsCaller, idempotency_key: IdempotencyKey = None
) -> Response:
    """Make a schedule. With an `Idempotency-Key`, the same request again finds the schedule that the first one made."""
    _check(service, body.run)
    next_ms = next_moment_ms(body.cron, body.timezone, service.now_ms())
    made = await service.store.schedules.create(
        caller.tenant,
        body.id or (None if idempotency_key is None else f"sch-{_digest(idempotency_key)}"),
        cron=body.cron,
        timezone=body.timezone,
        enabled=body.enabled,
        run=_stored(body.run),
        next_ms=next_ms if body.enabled else None,
        nonce=None if idempotency_key is None else _digest(idempotency_key + body.model_dump_json()),
    )
    return answer(schedule_of(made), 201, {"location": f"/v1/schedules/{made.id}"})


@router.get("/schedules", operation_id="list_schedules", response_model=Page[Schedule])
async def list_schedules(
    service: ServiceDep,
    caller: ReadCaller,
    cursor: Annotated[Name | None, Query(description="`next` of the page before.")] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> Response:
    """List schedules, newest first."""
    found = await service.store.schedules.list(caller.tenant, before=cursor or "", limit=limit + 1)
    items = [schedule_of(each) for each in found[:limit]]
    return answer(Page[Schedule](items=items, next=items[-1].id if len(found) > limit else None))


@router.get("/schedules/{schedule_id}", operation_id="get_schedule", response_model=Schedule)
async def get_schedule(schedule_id: ScheduleId, service: ServiceDep, caller: ReadCaller) -> Response:
    """Return a schedule, and when it fires next."""
    return answer(schedule_of(await service.store.schedules.get(caller.tenant, schedule_id)))


@router.patch("/schedules/{schedule_id}", operation_id="change_schedule", response_model=Schedule)
async def change_schedule(
    schedule_id: ScheduleId, body: ScheduleChange, service: ServiceDep, caller: RunsCaller
) -> Response:
    """Change what the body names; the rest stays. A schedule that is switched on makes up for nothing."""
    if body.run is not None:
        _check(service, body.run)
    for _ in range(_TRIES):
        had = await service.store.schedules.get(caller.tenant, schedule_id)
        now = await service.store.schedules.change(caller.tenant, had, **_changed(service, had, body))
        if now is not None:
            return answer(schedule_of(now))
    raise ScheduleNotFound(schedule_id=schedule_id)


@router.delete("/schedules/{schedule_id}", operation_id="delete_schedule", status_code=204)
async def delete_schedule(schedule_id: ScheduleId, service: ServiceDep, caller: RunsCaller) -> Response:
    """Delete a schedule and its history. The runs that it made stay."""
    await service.store.schedules.delete(caller.tenant, schedule_id)
    return Response(status_code=204)


@router.post("/schedules/{schedule_id}/trigger", operation_id="trigger_schedule", status_code=202, response_model=Run)
async def trigger_schedule(
    schedule_id: ScheduleId, service: ServiceDep, caller: RunsCaller, idempotency_key: IdempotencyKey = None
) -> Response:
    """Submit the schedule's task now, also when it is switched off; its own moments stay as they are."""
    had = await service.store.schedules.get(caller.tenant, schedule_id)
    by = Caller(caller.tenant, f"schedule:{had.id}", caller.scopes)
    key = None if idempotency_key is None else f"trigger:{had.id}:{idempotency_key}"
    try:
        done, created = await submit(service, by, request_of(had.run), idempotency_key=key)
    except ForOperator:
        raise
    except LoopwrightError as exc:
        await _note(service, caller, had, Fired(service.now_ms(), problem=str(exc), manual=True))
        raise
    if done.is_new:
        await _note(service, caller, had, Fired(service.now_ms(), run_id=done.run_id, manual=True))
        run = queued_run(created, service.store.journal.durability)
    else:
        run = run_of(
            await service.store.journal.snapshot(done.run_id, artifacts=False), service.store.journal.durability
        )
    return answer(run, 202, {"location": f"/v1/runs/{run.id}"})


@router.get("/schedules/{schedule_id}/history", operation_id="list_firings", response_model=Page[Firing])
async def list_firings(
    schedule_id: ScheduleId,
    service: ServiceDep,
    caller: ReadCaller,
    limit: Annotated[int, Query(ge=1, le=100)] = 100,
) -> Response:
    """List what came of the schedule's last hundred firings, newest first, refused ones with their reason."""
    found = await service.store.schedules.history(caller.tenant, schedule_id, limit)
    return answer(
        Page[Firing](
            items=[
                Firing(at=moment(each.at_ms), run_id=each.run_id, problem=each.problem, manual=each.manual)
                for each in found
            ]
        )
    )


def schedule_of(record: ScheduleRecord) -> Schedule:
    """Return a schedule as the API shows it."""
    return Schedule(
        id=record.id,
        cron=record.cron,
        timezone=record.timezone,
        enabled=record.enabled,
        run=dict(record.run),
        next_at=None if record.next_ms is None else moment(record.next_ms),
        last_at=None if record.last_ms is None else moment(record.last_ms),
        last_run=record.last_run,
    )


async def _note(service: Service, caller: Caller, had: ScheduleRecord, what: Fired) -> None:
    await service.store.schedules.triggered(caller.tenant, had.id, what)


def _check(service: Service, run: RunRequest) -> None:
    """Refuse what could not be submitted now. Raises AgentNotFound, TaskInvalid, WebhookRefused, ScheduleInvalid."""
    service.registry.get(run.agent)
    checked_task(run.task)
    if run.webhook is not None:
        check_webhook_url(str(run.webhook), service.settings)
    if run.after is not None:
        raise ScheduleInvalid("run.after", "a schedule says itself when; leave it out")
    size = len(run.model_dump_json(exclude_defaults=True).encode())
    if size > MAX_RUN_BYTES:
        raise ScheduleInvalid("run", f"has {size:,} bytes as JSON; at most {MAX_RUN_BYTES:,} are kept for every firing")


def _stored(run: RunRequest) -> dict[str, Any]:
    return run.model_dump(mode="json", exclude_defaults=True)


def _changed(service: Service, had: ScheduleRecord, body: ScheduleChange) -> dict[str, Any]:
    """Return a schedule's fields after a change; it fires next as before when neither moments nor switch changed."""
    cron = had.cron if body.cron is None else body.cron
    timezone = had.timezone if body.timezone is None else body.timezone
    enabled = had.enabled if body.enabled is None else body.enabled
    is_same = (cron, timezone, enabled) == (had.cron, had.timezone, had.enabled)
    following = had.next_ms if is_same else next_moment_ms(cron, timezone, service.now_ms())
    return {
        "cron": cron,
        "timezone": timezone,
        "enabled": enabled,
        "run": had.run if body.run is None else _stored(body.run),
        "next_ms": following if enabled else None,
    }


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=10).hexdigest()
