"""Connections to one server without a common pool.

The pool of httpcore2 looks at each of its connections for every request: with 500 completions under way that is most
of a worker's CPU. Here every connection has a pool of its own, which holds nothing else; idle ones lie on a stack.
"""

import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from urllib.request import getproxies, proxy_bypass

import httpx2

IDLE_S = 5.0
"""How long a connection that is not used stays open, in seconds; the default of httpx2."""

_LIMITS = httpx2.Limits(max_connections=1, max_keepalive_connections=1, keepalive_expiry=IDLE_S)


class SpreadTransport(httpx2.AsyncBaseTransport):
    """Sends each request over a connection that nobody else uses meanwhile.

    Args:
        keep: Idle connections kept open.
        clock: Seconds, for the age of idle connections.
    """

    def __init__(self, keep: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._keep = keep
        self._clock = clock
        self._tls = httpx2.create_ssl_context()
        self._idle: deque[tuple[httpx2.AsyncBaseTransport, float]] = deque()
        self._is_closed = False

    @property
    def idle(self) -> int:
        """How many connections wait for a request."""
        return len(self._idle)

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send a request; its connection is free again when the response is closed."""
        link = self._idle.pop()[0] if self._idle else httpx2.AsyncHTTPTransport(verify=self._tls, limits=_LIMITS)
        try:
            response = await link.handle_async_request(request)
        except BaseException:
            await link.aclose()
            raise
        assert isinstance(response.stream, httpx2.AsyncByteStream)
        response.stream = _Body(response.stream, lambda: self._give_back(link))
        await self._close_stale()
        return response

    async def aclose(self) -> None:
        """Close idle connections; those in use are closed when their responses are."""
        self._is_closed = True
        while self._idle:
            await self._idle.pop()[0].aclose()

    async def _give_back(self, link: httpx2.AsyncBaseTransport) -> None:
        if self._is_closed or len(self._idle) >= self._keep:
            await link.aclose()
        else:
            self._idle.append((link, self._clock()))

    async def _close_stale(self) -> None:
        """Close the connection that was idle for longest, once its time is over; one a request is enough."""
        if self._idle and self._clock() - self._idle[0][1] > IDLE_S:
            await self._idle.popleft()[0].aclose()


class _Body(httpx2.AsyncByteStream):
    """The body of a response, and what happens when it is closed."""

    def __init__(self, body: httpx2.AsyncByteStream, on_closed: Callable[[], Awaitable[None]]) -> None:
        self._body = body
        self._on_closed: Callable[[], Awaitable[None]] | None = on_closed

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._body.__aiter__()

    async def aclose(self) -> None:
        """Close the body, then let go of its connection, once."""
        on_closed, self._on_closed = self._on_closed, None
        try:
            await self._body.aclose()
        finally:
            if on_closed is not None:
                await on_closed()


def is_proxied(url: httpx2.URL) -> bool:
    """Say whether the environment sends requests for this URL through a proxy."""
    return bool({url.scheme, "all"} & getproxies().keys()) and not proxy_bypass(url.host)
