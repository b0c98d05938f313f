"""The border of the API: what happens to every request before and after its route.

Each request gets an id, which its log lines and problems carry; below `/v1` it needs a key; its body is read within
bounds; and whatever goes wrong leaves as a problem. Requests for a live stream are handed over before FastAPI comes
into play, because what FastAPI holds per request would be held for as long as the stream.
"""

import re
import secrets
from typing import TYPE_CHECKING

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .. import errors as er
from .auth import authenticate
from .body import bounded
from .deps import CALLER_KEY, REQUEST_ID_KEY
from .measure import Stopwatch
from .problems import MEDIA_TYPE, headers_of, problem_of

if TYPE_CHECKING:
    from .service import Service
    from .streams import EventStreams

_log = structlog.get_logger(__name__)
STREAM_ROUTE = "/v1/runs/{run_id}/events"
"""The only route that is streamed, as FastAPI names it."""

_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")


class Border:
    """What stands around the routes.

    Args:
        app: The routes.
        service: The parts of the service.
        streams: Serves requests for live streams.
    """

    def __init__(self, app: ASGIApp, service: "Service", streams: "EventStreams") -> None:
        self._app = app
        self._service = service
        self._streams = streams

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one HTTP request."""
        request_id = scope[REQUEST_ID_KEY] = _id_of(scope)
        structlog.contextvars.bind_contextvars(request_id=request_id)
        sender, watch = _Sender(send, request_id), Stopwatch(self._service.store.metrics)
        try:
            if scope["path"].startswith("/v1/"):
                scope[CALLER_KEY] = await authenticate(scope, self._service)
            if not self._streams.wants(scope):
                await self._app(scope, await bounded(scope, receive), sender.send)
                watch.answered(scope, sender.status)
                return
            opened = await self._streams.open(scope)
        except Exception as exc:  # the outermost border of a request
            await sender.fail(exc)
            watch.answered(scope, sender.status)
            return
        watch.streaming(STREAM_ROUTE)
        await self._streams.serve(scope, opened, receive, send)


class _Sender:
    """Adds the request id to an answer, and answers what went wrong."""

    __slots__ = ("_request_id", "_send", "status")

    def __init__(self, send: Send, request_id: str) -> None:
        self._send = send
        self._request_id = request_id
        self.status: int | None = None

    async def send(self, message: Message) -> None:
        """Send a message of the answer."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message["headers"].append((b"x-request-id", self._request_id.encode()))
        await self._send(message)

    async def fail(self, error: Exception) -> None:
        """Answer an error, unless an answer has begun; log it when it is ours."""
        known = error if isinstance(error, er.LoopwrightError) else er.LoopwrightError()
        problem = problem_of(known, self._request_id)
        if problem.status == 500:
            _log.error("request_failed", request_id=self._request_id, exc_info=error)
        if self.status is not None:
            return
        body = problem.model_dump_json().encode()
        headers = headers_of(known) | {"content-type": MEDIA_TYPE, "content-length": str(len(body))}
        raw = [(name.encode(), value.encode()) for name, value in headers.items()]
        await self.send({"type": "http.response.start", "status": problem.status, "headers": raw})
        await self._send({"type": "http.response.body", "body": body})


def _id_of(scope: Scope) -> str:
    """Return the id that the client gave the request, or a new one."""
    for name, value in scope["headers"]:
        if name == b"x-request-id" and _REQUEST_ID.fullmatch(value):
            return str(value, "ascii")
    return secrets.token_hex(8)
