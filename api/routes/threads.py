"""Routes of threads: conversations that runs go on with, one at a time."""

import hashlib
from typing import Annotated

from fastapi import APIRouter, Path, Query, Response

from ...errors import ThreadBusy
from ...memory import threads as kept
from ..deps import ReadCaller, RunsCaller, ServiceDep
from ..models import Name, Page, Thread, ThreadMessage, ThreadRequest
from ..views import answer, moment
from .runs import IdempotencyKey

router = APIRouter()

ThreadId = Annotated[Name, Path(description="Id of the thread.")]
Limit = Annotated[int, Query(ge=1, le=200)]


@router.post("/threads", operation_id="create_thread", status_code=201, response_model=Thread)
async def create_thread(
    body: ThreadRequest, service: ServiceDep, caller: RunsCaller, idempotency_key: IdempotencyKey = None
) -> Response:
    """Make an empty thread. A run that names a thread which is not there makes it, too.

    With an `Idempotency-Key`, the same request again finds the thread that the first one made.
    """
    nonce = None if idempotency_key is None else _digest(idempotency_key + body.model_dump_json())
    drawn = None if idempotency_key is None else f"t-{_digest(idempotency_key)}"
    made = await service.store.threads.create(caller.tenant, body.id or drawn, body.metadata, nonce=nonce)
    return answer(thread_of(made), 201, {"location": f"/v1/threads/{made.id}"})


@router.get("/threads", operation_id="list_threads", response_model=Page[Thread])
async def list_threads(
    service: ServiceDep,
    caller: ReadCaller,
    cursor: Annotated[Name | None, Query(description="`next` of the page before.")] = None,
    limit: Limit = 50,
) -> Response:
    """List threads, the one used last first."""
    found = await service.store.threads.list(caller.tenant, before=cursor or "", limit=limit + 1)
    items = [thread_of(each) for each in found[:limit]]
    return answer(Page[Thread](items=items, next=items[-1].id if len(found) > limit else None))


@router.get("/threads/{thread_id}", operation_id="get_thread", response_model=Thread)
async def get_thread(thread_id: ThreadId, service: ServiceDep, caller: ReadCaller) -> Response:
    """Return a thread, with the run that has it now and those that wait for their turn."""
    return answer(thread_of(await service.store.threads.get(caller.tenant, thread_id)))


@router.get("/threads/{thread_id}/messages", operation_id="list_messages", response_model=Page[ThreadMessage])
async def list_messages(
    thread_id: ThreadId,
    service: ServiceDep,
    caller: ReadCaller,
    cursor: Annotated[
        str | None, Query(pattern=r"^[0-9]{1,18}-[0-9]{1,18}$", description="`next` of the page before.")
    ] = None,
    limit: Limit = 100,
) -> Response:
    """List what was said, oldest first: the task of each run, and the answer where it succeeded."""
    found, has_more = await service.store.threads.page(caller.tenant, thread_id, after=cursor or "", limit=limit + 1)
    items = [message_of(each) for each in found[:limit]]
    return answer(Page[ThreadMessage](items=items, next=items[-1].id if has_more else None))


@router.delete("/threads/{thread_id}", operation_id="delete_thread", status_code=204)
async def delete_thread(thread_id: ThreadId, service: ServiceDep, caller: RunsCaller) -> Response:
    """Forget a thread and what was said in it. Its runs stay; while one of them has not ended, this is refused."""
    had = await service.store.threads.get(caller.tenant, thread_id)
    if had.running is not None:
        raise ThreadBusy(thread_id=thread_id, run_id=had.running)
    await service.store.threads.delete(caller.tenant, thread_id)
    return Response(status_code=204)


def thread_of(thread: kept.Thread) -> Thread:
    """Return a thread as the API shows it."""
    return Thread(
        id=thread.id,
        metadata=dict(thread.metadata),
        created_at=moment(thread.created_ms),
        updated_at=moment(thread.updated_ms),
        messages=thread.messages,
        running=thread.running,
        queued=list(thread.queued),
    )


def message_of(message: kept.ThreadMessage) -> ThreadMessage:
    """Return a message as the API shows it."""
    return ThreadMessage(
        id=message.id, role=message.role, text=message.text, run_id=message.run_id, at=moment(message.at_ms)
    )


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=10).hexdigest()
