"""Count requests by route and status, as `GET /metrics` shows them."""

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..memory.metrics import Metrics

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
PREFIX = "/v1"
ABORTED = "aborted"
"""Status of requests whose client left before there was an answer."""


class Stopwatch:
    """Measures one request from now on."""

    __slots__ = ("_began", "_metrics")

    def __init__(self, metrics: "Metrics") -> None:
        self._metrics = metrics
        self._began = time.perf_counter()

    def answered(self, scope: Mapping[str, Any], status: int | None) -> None:
        """Count the request, and how long its answer took.

        Args:
            scope: Its ASGI scope; the route that matched stands in it, as a template without ids.
            status: Of the answer; `None`: there was none.
        """
        method = str(scope["method"]) if scope["method"] in METHODS else "other"
        labels = {"method": method, "route": _route_of(scope)}
        self._metrics.count("api_requests", status=str(status or ABORTED), **labels)
        self._metrics.observe("api", time.perf_counter() - self._began, **labels)

    def streaming(self, route: str) -> None:
        """Count a stream that was opened; how long it stays open is the client's choice."""
        self._metrics.count("api_requests", status="200", method="GET", route=route)


def _route_of(scope: Mapping[str, Any]) -> str:
    """Return the template of the route that matched; FastAPI keeps it without the prefix of the router."""
    path = getattr(scope.get("route"), "path", None)
    if path is None:
        return "other"
    return f"{PREFIX}{path}" if scope["path"].startswith(f"{PREFIX}/") and not path.startswith(PREFIX) else str(path)
