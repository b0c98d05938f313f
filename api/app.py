"""The FastAPI application: routes, how errors are answered, and the border around all of it."""

import importlib
from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.types import Receive, Scope, Send

from .. import errors as er
from .border import Border
from .deps import REQUEST_ID_KEY
from .openapi import described
from .problems import MEDIA_TYPE, headers_of, problem_of, request_invalid
from .service import Service
from .streams import EventStreams
from .waiting import Waiters

ROUTES = ("runs", "events", "approvals", "agents", "threads", "schedules", "webhooks")
"""Files of `api/routes/` whose routes lie below `/v1`."""

OPEN_ROUTES = ("health", "metrics")
"""Files whose routes lie at the root."""


class Api(FastAPI):
    """The application. One per process; it owns nothing that is in its `service`.

    Args:
        service: The parts of the service.
    """

    def __init__(self, service: Service) -> None:
        from .. import __version__

        super().__init__(
            title="Loopwright", version=__version__, summary="Self-hosted tool-using agents as durable jobs.",
            docs_url=None, redoc_url=None, redirect_slashes=False, telemetry={"tracing": False, "metrics": False},
        )  # fmt: skip
        self.state.service = service
        self.streams = EventStreams(service)
        self.waiters = Waiters()
        self._border = Border(super().__call__, service, self.streams)
        for kind, handler in _HANDLERS.items():
            self.add_exception_handler(kind, handler)
        for names, prefix in ((ROUTES, "/v1"), (OPEN_ROUTES, "")):
            for name in names:
                module = importlib.import_module(f".routes.{name}", __package__)
                self.include_router(module.router, prefix=prefix, tags=[name])

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection."""
        if scope["type"] == "http":
            await self._border(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)

    def stop(self) -> None:
        """End what would not end by itself: streams, and answers that wait for their run."""
        self.streams.stop()
        self.waiters.stop()

    def openapi(self) -> dict[str, Any]:
        """Return the OpenAPI description, made at first use."""
        if not self.openapi_schema:
            self.openapi_schema = described(super().openapi())
        return self.openapi_schema


def answer_of(error: er.LoopwrightError, request: Request) -> Response:
    """Return an error as an HTTP answer."""
    problem = problem_of(error, request.scope.get(REQUEST_ID_KEY, ""))
    return Response(problem.model_dump_json(), problem.status, headers_of(error), MEDIA_TYPE)


async def _on_error(request: Request, exc: Exception) -> Response:
    if not isinstance(exc, er.LoopwrightError) or problem_of(exc).status == 500:
        raise exc  # the border logs it
    return answer_of(exc, request)


async def _on_unexpected(request: Request, exc: Exception) -> Response:
    return answer_of(er.LoopwrightError(), request)  # the border sees the exception as well, and logs it


async def _on_invalid(request: Request, exc: Exception) -> Response:
    found: Sequence[Any] = exc.errors() if isinstance(exc, RequestValidationError) else []
    return answer_of(request_invalid(found), request)


async def _on_http(request: Request, exc: Exception) -> Response:
    status = exc.status_code if isinstance(exc, HTTPException) else 500
    if status == 405:
        return answer_of(er.MethodNotAllowed(request.method, _allowed(request)), request)
    if status == 404:
        return answer_of(er.NoSuchRoute(request.url.path), request)
    return answer_of(er.RequestError(str(getattr(exc, "detail", status))), request)


def _allowed(request: Request) -> str:
    """Return the methods that this path has. One without parameters stands before those that merely match it."""
    path = request.url.path
    described: dict[str, Any] = request.app.openapi()["paths"]
    found = (
        [described[path]]
        if path in described
        else [methods for template, methods in described.items() if _fits(template, path)]
    )
    return ", ".join(sorted({method.upper() for methods in found for method in methods})) or "GET"


def _fits(template: str, path: str) -> bool:
    wanted, parts = template.split("/"), path.split("/")
    return len(wanted) == len(parts) and all(w == p or w[:1] == "{" for w, p in zip(wanted, parts, strict=True))


_HANDLERS: dict[type[Exception], Any] = {
    er.LoopwrightError: _on_error,
    RequestValidationError: _on_invalid,
    HTTPException: _on_http,
    Exception: _on_unexpected,
}
