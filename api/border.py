"""The border of the API: what happens to every request before and after its route.

Each request gets an id, which its log lines and problems carry; below `/v1` it needs a key; its body is read within
bounds; and whatever goes wrong leaves as a problem. Requests for a live stream are handed over before FastAPI comes
into play, because what FastAPI holds per request would be held for as long as the stream.
"""

import asyncio
import re
import secrets
from typing import TYPE_CHECKING

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .. import errors as er
from .auth import authenticate
from .body import bounded
from .deps import CALLER_KEY, DEADLINE_KEY, REQUEST_ID_KEY
from .measure import Stopwatch
from .problems import MEDIA_TYPE, headers_of, problem_of

if TYPE_CHECKING:
    from .service import Service
    from .streams import EventStreams, Opened

_log = structlog.get_logger(__name__)

STORE_S = 4.5
"""Seconds that Redis has for all that a request asks of it; then the answer is 503."""

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
        watch = Stopwatch(self._service.store.metrics)
        deadline = scope[DEADLINE_KEY] = asyncio.timeout(None)
        sender = _Sender(send, request_id, deadline)
        opened = None
        try:
            async with deadline:
                opened = await self._answered(scope, receive, sender, deadline)
        except TimeoutError as exc:
            late = er.JournalUnavailable(f"no answer within {STORE_S:g} s")
            await sender.fail(late if deadline.expired() else exc)
        except Exception as exc:  # the outermost border of a request
            await sender.fail(exc)
        if opened is None:
            watch.answered(scope, sender.status)
            return
        watch.streaming(STREAM_ROUTE)
        await self._streams.serve(scope, opened, receive, send)

    async def _answered(
        self, scope: Scope, receive: Receive, sender: "_Sender", deadline: asyncio.Timeout
    ) -> "Opened | None":
        """Answer a request, or return what its stream begins with."""
        loop = asyncio.get_running_loop()
        left_s = STORE_S
        if scope["path"].startswith("/v1/"):
            since = loop.time()
            deadline.reschedule(since + left_s)
            scope[CALLER_KEY] = await authenticate(scope, self._service)
            left_s -= loop.time() - since
        deadline.reschedule(None)  # a body has a time of its own
        receive = await bounded(scope, receive)
        deadline.reschedule(loop.time() + left_s)
        if self._streams.wants(scope):
            return await self._streams.open(scope)
        await self._app(scope, receive, sender.send)
        return None


class _Sender:
    """Adds the request id to an answer, and answers what went wrong."""

    __slots__ = ("_deadline", "_request_id", "_send", "status")

    def __init__(self, send: Send, request_id: str, deadline: asyncio.Timeout) -> None:
        self._deadline: asyncio.Timeout | None = deadline
        self._send = send
        self._request_id = request_id
        self.status: int | None = None

    async def send(self, message: Message) -> None:
        """Send a message of the answer."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            if self._deadline is not None:
                self._deadline.reschedule(None)  # from here on the client's pace decides
            message["headers"].append((b"x-request-id", self._request_id.encode()))
        await self._send(message)

    async def fail(self, error: Exception) -> None:
        """Answer an error, unless an answer has begun; log it when it is ours."""
        self._deadline = None
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
