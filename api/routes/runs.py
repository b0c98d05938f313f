"""Routes of runs: submit, look at, list, cancel, fork, export."""

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Header, Path, Query, Request, Response

from ...errors import ArtifactNotFound, LoopwrightError, RequestInvalid, TaskInvalid
from ...memory.journal.contract import Snapshot
from ...memory.journal.ids import created_ms_of, shard_of_tenant
from ...planner.events import FINAL, Status
from ...planner.task import checked_task
from ..auth import check_alive
from ..caller import Caller
from ..deps import CALLER_KEY, DEADLINE_KEY, REQUEST_ID_KEY, ReadCaller, RunsCaller, ServiceDep
from ..export import exported
from ..fork import fork
from ..models import (
    BatchAnswer,
    BatchItem,
    BatchRequest,
    CancelRequest,
    ForkRequest,
    Moment,
    Name,
    Page,
    Run,
    RunExport,
    RunRequest,
    RunSummary,
)
from ..ownership import own_record
from ..problems import MAX_FIELD_PROBLEMS, kind_of, problem_of
from ..service import Service
from ..submit import submit
from ..views import JSON, answer, queued_run, run_of, summary_of
from ..waiting import wait_of

router = APIRouter()

SUBMITTED_AT_ONCE = 32
"""Runs of a batch that are submitted at the same time."""

IdempotencyKey = Annotated[
    str | None,
    Header(
        pattern=r"^[!-~]{1,255}$",
        description="Makes a retry safe: for 24 hours, same key and body find the same run; another body is refused.",
    ),
]
Prefer = Annotated[
    str | None,
    Header(max_length=200, description="`wait=N`: answer when the run ends or waits for a person, within N ≤ 60 s."),
]
RunCursor = Annotated[
    str | None,
    Query(pattern=r"^(?:[0-5][0-9]|6[0-3])[0-9a-f]{32}$", description="`next` of the page before."),
]
RunId = Annotated[str, Path(description="Id of the run.")]


@router.post(
    "/runs", operation_id="create_run", status_code=202, response_model=Run,
    responses={200: {"model": Run, "description": "The run has ended within the time of `Prefer: wait=N`."}},
)  # fmt: skip
async def create_run(
    body: RunRequest,
    request: Request,
    service: ServiceDep,
    caller: RunsCaller,
    idempotency_key: IdempotencyKey = None,
    prefer: Prefer = None,
) -> Response:
    """Take on a run. It is kept before the answer leaves, in the mode that `durability` names."""
    done, created = await submit(service, caller, body, idempotency_key=idempotency_key)
    seconds = wait_of(prefer)
    if done.is_new and not seconds:
        run = queued_run(created, service.store.journal.durability)
        return answer(run, 202, {"location": f"/v1/runs/{run.id}"})
    return await _awaited(request, service, done.run_id, seconds)


@router.post("/runs/batch", operation_id="create_runs", status_code=202, response_model=BatchAnswer)
async def create_runs(
    body: BatchRequest,
    request: Request,
    service: ServiceDep,
    caller: RunsCaller,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Take on many runs in one go.

    A body that is not valid is refused as a whole. Else each task is accepted or refused by itself, and the answer
    has one item for each. Of a batch that is sent again with the same `Idempotency-Key`, no task runs twice.
    """
    _check_tasks(body)
    found = await _submitted(service, caller, body.runs, idempotency_key)
    if all(_is_our_fault(each) for each in found):
        raise found[0]
    request_id = request.scope[REQUEST_ID_KEY]
    return answer(BatchAnswer(items=[_item(index, each, request_id) for index, each in enumerate(found)]), 202)


@router.get("/runs", operation_id="list_runs", response_model=Page[RunSummary])
async def list_runs(
    service: ServiceDep,
    caller: ReadCaller,
    status: Annotated[Status | None, Query(description="Only runs that stand so.")] = None,
    agent: Annotated[Name | None, Query(description="Only runs of this agent.")] = None,
    created_after: Annotated[Moment | None, Query(description="Only runs created at or after this moment.")] = None,
    created_before: Annotated[Moment | None, Query(description="Only runs created before this moment.")] = None,
    cursor: RunCursor = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> Response:
    """List runs, newest first. A page may be short, or empty, and have a `next`: only so many runs are looked at."""
    before = cursor or ""
    if created_before is not None and (not before or _ms(created_before) < created_ms_of(before)):
        before = _cursor_at(caller, _ms(created_before))
    page = await service.store.journal.page(caller.tenant, status=status, agent=agent, before=before, limit=limit)
    shown, following = page.records, page.next
    if created_after is not None:
        shown = [each for each in shown if each.created_ms >= _ms(created_after)]
        if len(shown) < len(page.records) or (following and created_ms_of(following) < _ms(created_after)):
            following = ""
    items = [summary_of(each) for each in shown]
    return answer(Page[RunSummary].model_construct(items=items, next=following or None))


@router.get("/runs/{run_id}", operation_id="get_run", response_model=Run)
async def get_run(
    run_id: RunId, request: Request, service: ServiceDep, caller: ReadCaller, prefer: Prefer = None
) -> Response:
    """Return a run. With `Prefer: wait=N` the answer waits until the run has ended or waits for a person."""
    await own_record(service, caller, run_id)
    seconds = wait_of(prefer)
    snapshot = await _at_rest(request, service, run_id, seconds)
    return answer(run_of(snapshot, service.store.journal.durability), 200, _applied(seconds))


@router.post(
    "/runs/{run_id}/cancel", operation_id="cancel_run", status_code=202, response_model=Run,
    responses={200: {"model": Run, "description": "The run had ended before."}},
)  # fmt: skip
async def cancel_run(
    run_id: RunId, service: ServiceDep, caller: RunsCaller, body: CancelRequest | None = None
) -> Response:
    """Ask a run to stop. From the answer on no call with effects is sent; a run that has ended stays as it is."""
    record = await own_record(service, caller, run_id)
    if record.status not in FINAL:
        await service.store.journal.request_cancel(run_id, body.reason if body else "requested")
        await service.doorbell.ring(run_id)
    snapshot = await service.store.journal.snapshot(run_id, artifacts=False)
    status = 200 if snapshot.record.status in FINAL else 202
    return answer(run_of(snapshot, service.store.journal.durability), status)


@router.post(
    "/runs/{run_id}/fork", operation_id="fork_run", status_code=202, response_model=Run,
    responses={200: {"model": Run, "description": "The fork has ended within the time of `Prefer: wait=N`."}},
)  # fmt: skip
async def fork_run(
    run_id: RunId,
    body: ForkRequest,
    request: Request,
    service: ServiceDep,
    caller: RunsCaller,
    idempotency_key: IdempotencyKey = None,
    prefer: Prefer = None,
) -> Response:
    """Take on a run that begins with the first steps of this one; what they called is not called again."""
    done, _ = await fork(service, caller, run_id, body, idempotency_key=idempotency_key)
    return await _awaited(request, service, done.run_id, wait_of(prefer))


@router.get("/runs/{run_id}/export", operation_id="export_run", response_model=RunExport)
async def export_run(run_id: RunId, service: ServiceDep, caller: ReadCaller) -> Response:
    """Return everything about a run as one JSON file: definition, prompt, events, results, artifacts."""
    await own_record(service, caller, run_id)
    snapshot = await service.store.journal.snapshot(run_id)
    content = exported(snapshot, run_of(snapshot, service.store.journal.durability), service.registry)
    name = {"content-disposition": f'attachment; filename="run-{run_id}.json"'}
    return Response(content, media_type=JSON, headers=name)


@router.get(
    "/runs/{run_id}/artifacts/{artifact_id}", operation_id="get_artifact", response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}, "description": "The text."}},
)  # fmt: skip
async def get_artifact(run_id: RunId, artifact_id: str, service: ServiceDep, caller: ReadCaller) -> Response:
    """Return an artifact: the whole of a result or a prompt part that was cut."""
    await own_record(service, caller, run_id)
    text = await service.store.journal.artifact(run_id, artifact_id)
    if text is None:
        raise ArtifactNotFound(run_id, artifact_id[:100])
    return Response(text, media_type="text/plain", headers={"x-content-type-options": "nosniff"})


async def _awaited(request: Request, service: Service, run_id: str, seconds: int) -> Response:
    """Return a submitted run, when it has ended or after so many seconds."""
    snapshot = await _at_rest(request, service, run_id, seconds)
    run = run_of(snapshot, service.store.journal.durability)
    status = 200 if run.status in FINAL and seconds else 202
    return answer(run, status, {"location": f"/v1/runs/{run_id}"} | _applied(seconds))


async def _at_rest(request: Request, service: Service, run_id: str, seconds: int) -> Snapshot:
    deadline = request.scope[DEADLINE_KEY]
    found: Snapshot = await request.app.waiters.until_rest(service.store.journal, run_id, seconds, deadline)
    if seconds:
        await check_alive(request.scope[CALLER_KEY], service)  # the key may have been revoked meanwhile
    return found


def _applied(seconds: int) -> dict[str, str]:
    return {"preference-applied": f"wait={seconds}"} if seconds else {}


async def _submitted(service: Service, caller: Caller, runs: list[RunRequest], key: str | None) -> list[Any]:
    """Submit some runs at a time, so that requests of others come in between; return what became of each.

    Once the store takes no more, the rest is not tried.
    """
    found: list[Any] = []
    while len(found) < len(runs):
        first = len(found)
        work = [
            submit(service, caller, each, idempotency_key=None if key is None else f"{key}\n{index}")
            for index, each in enumerate(runs[first : first + SUBMITTED_AT_ONCE], first)
        ]
        found += await asyncio.gather(*work, return_exceptions=True)
        for each in found[first:]:
            if isinstance(each, BaseException) and not isinstance(each, LoopwrightError):
                raise each
            if _is_our_fault(each):
                return found + [each] * (len(runs) - len(found))
    return found


def _is_our_fault(found: Any) -> bool:
    return isinstance(found, LoopwrightError) and kind_of(found).status >= 500


def _check_tasks(body: BatchRequest) -> None:
    """Refuse a batch with a task that is none. Raises RequestInvalid with the place of each."""
    problems = []
    for index, each in enumerate(body.runs):
        try:
            checked_task(each.task)
        except TaskInvalid as exc:
            problems.append(f"body.runs[{index}].task: {exc.problem}")
    if problems:
        raise RequestInvalid(problems[:MAX_FIELD_PROBLEMS])


def _item(index: int, found: Any, request_id: str) -> BatchItem:
    if isinstance(found, LoopwrightError):
        return BatchItem(index=index, problem=problem_of(found, request_id))
    return BatchItem(index=index, id=found[0].run_id)


def _ms(moment: Any) -> int:
    return max(0, int(moment.timestamp() * 1000))


def _cursor_at(caller: Caller, at_ms: int) -> str:
    """Return a cursor behind which the runs lie that were created before a moment."""
    return f"{shard_of_tenant(caller.tenant):02d}{min(at_ms, (1 << 48) - 1):012x}{'0' * 20}"
