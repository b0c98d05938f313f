"""A server that plays the API over real sockets, as a test wrote it down: good answers, and all that goes wrong."""

import json
from collections.abc import Callable
from typing import Any

from ..inference.fake_server import Act, FakeServer, Reply, Seen

JSON = {"content-type": "application/json"}
PROBLEM = {"content-type": "application/problem+json"}
SSE = {"content-type": "text/event-stream"}
NEVER = "2026-01-01T00:00:00Z"

Script = Callable[[Seen], Reply]


class ScriptedApi(FakeServer):
    """Answers every request by a function, or by replies in order, the last one again and again."""

    def __init__(self, *replies: Reply | Script) -> None:
        super().__init__()
        self._replies = list(replies)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def _reply_to(self, seen: Seen) -> Reply:
        reply = self._replies.pop(0) if len(self._replies) > 1 else self._replies[0]
        return reply if isinstance(reply, Reply) else reply(seen)


def gives(value: Any, status: int = 200) -> Reply:
    """Return a JSON answer."""
    return Reply((json.dumps(value).encode(),), status, JSON)


def fails(status: int, code: str = "", detail: str = "no", **more: Any) -> Reply:
    """Return a problem; `headers` go beside it, other facts into it."""
    headers = PROBLEM | more.pop("headers", {})
    problem = {"type": f"urn:loopwright:problem:{code}", "title": "No", "status": status, "detail": detail, **more}
    return Reply((json.dumps(problem).encode(),), status, headers)


def drops() -> Reply:
    """Return an answer that never comes: the connection is reset once the request has arrived."""
    return Reply((Act.RESET,))


def run(run_id: str = "r1", status: str = "queued", **more: Any) -> dict[str, Any]:
    """Return a run as the API shows it."""
    return {"id": run_id, "agent": "desk", "status": status, "created_at": NEVER, "updated_at": NEVER, **more}


def stored(number: int, kind: str = "run.noticed", **data: Any) -> dict[str, Any]:
    """Return an event as the API shows it, with the id `1700000000000-number`."""
    return {"id": f"1700000000000-{number}", "type": kind, "at": NEVER, "data": {"type": kind, **data}}


def sends(event: dict[str, Any]) -> bytes:
    """Return an event of a journal as a stream carries it."""
    return f"id: {event['id']}\nevent: {event['type']}\ndata: {json.dumps(event)}\n\n".encode()


def streams(*parts: Any) -> Reply:
    """Return a stream of these parts."""
    return Reply(parts, 200, SSE)
