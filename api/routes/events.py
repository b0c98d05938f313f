"""Events of a run as JSON pages; as a live stream they are served by `api/streams.py`, ahead of this route."""

from typing import Annotated

from fastapi import APIRouter, Header, Query, Response

from ..deps import ReadCaller, ServiceDep
from ..models import Page, RunEvent
from ..ownership import own_record
from ..views import JSON, event_json, page_json
from .runs import RunId

router = APIRouter()

EVENT_ID = r"^[0-9]{1,18}(-[0-9]{1,18})?$"


@router.get("/runs/{run_id}/events", operation_id="list_events", response_model=Page[RunEvent])
async def list_events(
    run_id: RunId,
    service: ServiceDep,
    caller: ReadCaller,
    after: Annotated[str | None, Query(pattern=EVENT_ID, description="Only events behind the one of this id.")] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    last_event_id: Annotated[
        str | None,
        Header(
            pattern=EVENT_ID,
            description="As `after`, which it beats; browsers send it by themselves.",
            examples=["1798761600000-0"],
        ),
    ] = None,
    deltas: Annotated[bool, Query(description="Streams only: also send transient events.")] = False,
) -> Response:
    """Return events of a run, oldest first; with `Accept: text/event-stream`, all of them, live, until the last one.

    A stream sends each event with its `id`, its type as `event`, and a `RunEvent` as `data`. `Last-Event-ID` (or
    `after`) resumes it exactly behind that event. With `deltas=true` it also sends what is not stored, without `id`:
    `delta` (text of the model as it is written) and `progress`.
    """
    await own_record(service, caller, run_id)
    found = await service.store.journal.read(run_id, after=last_event_id or after or "", limit=limit + 1)
    shown = found[:limit]
    next_cursor = shown[-1].id if len(found) > limit else None
    return Response(page_json([event_json(each) for each in shown], next_cursor), media_type=JSON)
