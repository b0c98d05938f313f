"""Runs and events as the API shows them, made from the journal and from nothing else."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from pydantic import BaseModel
from pydantic_core import from_json
from starlette.responses import Response

from ..memory.journal.contract import RunRecord, Snapshot, Stored
from ..memory.journal.ids import created_ms_of
from ..planner.events import RunCreated, encode
from ..planner.state import RunState, fold
from .models import Run, RunSummary, Usage, Waiting, WaitingCall

JSON = "application/json"


def moment(at_ms: int) -> datetime:
    """Return a moment as the models hold it."""
    return datetime.fromtimestamp(at_ms / 1000, UTC)


def answer(body: BaseModel, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """Return a model as an HTTP answer, serialised once."""
    return Response(body.__pydantic_serializer__.to_json(body), status, headers, JSON)


def summary_of(record: RunRecord) -> RunSummary:
    """Return a run as lists show it."""
    return RunSummary.model_construct(**_heading(record))


def run_of(snapshot: Snapshot, durability: str) -> Run:
    """Return a run as its journal tells it.

    Raises:
        JournalCorrupt: The journal does not fold.
    """
    state = fold(each.event for each in snapshot.events)
    record = snapshot.record
    return Run.model_construct(
        **_heading(record), **_accepted(state.created),
        output=None if state.output is None else from_json(state.output),
        detail=state.detail, attempts=state.attempts, usage=_usage(state), waiting=_waiting(state),
        durability=durability, archived=record.archived,
    )  # fmt: skip


def queued_run(created: RunCreated, durability: str) -> Run:
    """Return a run that has just been accepted, without asking the journal."""
    at = moment(created_ms_of(created.run_id))
    return Run.model_construct(
        id=created.run_id, agent=created.agent, status="queued", reason=None, step=0, created_at=at, updated_at=at,
        **_accepted(created), output=None, detail="", attempts=0, usage=Usage(), waiting=None, durability=durability,
        archived=False,
    )  # fmt: skip


def event_json(stored: Stored) -> bytes:
    """Return an event as the JSON of a `RunEvent`, on one line; the event itself is not encoded a second time."""
    at = moment(stored.at_ms).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    head = f'{{"id":"{stored.id}","type":"{stored.event.type}","at":"{at}","data":'
    return head.encode() + encode(stored.event) + b"}"


def page_json(items: Sequence[bytes], next_cursor: str | None) -> bytes:
    """Return a page of items that are JSON already."""
    cursor = b"null" if next_cursor is None else b'"' + next_cursor.encode() + b'"'
    return b'{"items":[' + b",".join(items) + b'],"next":' + cursor + b"}"


def _heading(record: RunRecord) -> dict[str, Any]:
    return {
        "id": record.run_id,
        "agent": record.agent,
        "status": record.status,
        "reason": record.reason,
        "step": record.step,
        "created_at": moment(created_ms_of(record.run_id)),
        "updated_at": moment(record.updated_ms),
    }


def _accepted(created: RunCreated) -> dict[str, Any]:
    return {
        "agent_hash": created.agent_hash, "task": created.task, "thread_id": created.thread_id,
        "parent_run": created.parent_run, "forked_from": created.forked_from, "model": created.model,
        "priority": created.priority, "metadata": created.metadata, "limits": created.limits,
    }  # fmt: skip


def _usage(state: RunState) -> Usage:
    tokens = state.tokens
    return Usage.model_construct(
        prompt_tokens=tokens.prompt, cached_tokens=tokens.cached, completion_tokens=tokens.completion, cost=tokens.cost
    )


def _waiting(state: RunState) -> Waiting | None:
    """Return what a waiting run waits for: the calls that have no result yet and that nobody has decided about."""
    if state.status != "waiting":
        return None
    calls = [
        WaitingCall(call_id=each.call.id, tool=each.call.tool, arguments=each.call.arguments)
        for each in state.open
        if not each.finished and each.reviewed is None
    ]
    expires = None if state.expires_ms is None else moment(state.expires_ms)
    return Waiting(reason=state.reason or "", calls=calls, expires_at=expires)
