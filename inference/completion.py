"""One completion while it streams: reads events in time, knows how it ended, closes its request."""

import asyncio
import contextlib
from dataclasses import dataclass

import httpx2

from ..errors import EndpointTimedOut, EndpointUnavailable
from .alarm import Alarm
from .faults import CLIENT_ERRORS, from_exception
from .wire import MAX_EVENT_BYTES, Arrived, EventDecoder, read_events

DRAIN_S = 0.25
"""Longest wait for the end of a body behind `[DONE]`; a connection whose body ended serves the next request."""


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds that an endpoint waits.

    Attributes:
        connect_s: For a connection.
        first_token_s: From sending a request to its first token; covers the server's queue and the prompt.
        idle_token_s: Between two tokens. Keep-alive comments are no tokens.
        total_s: For a whole completion with its retries, where the request brings no deadline of its own.
    """

    connect_s: float = 5.0
    first_token_s: float = 120.0
    idle_token_s: float = 20.0
    total_s: float = 600.0

    def late(self, first_by: float | None, total_by: float) -> str:
        """Return which limit has passed: the deadline, the first token's (`first_by`), or that between two tokens."""
        if first_by is None:
            return f"no token for {self.idle_token_s:g} s"
        if total_by <= first_by:
            return "the completion took longer than its deadline"
        return f"no first token within {self.first_token_s:g} s"


class Completion:
    """Reads one open response.

    Args:
        endpoint: Name for errors.
        response: The response, its body not read yet.
        timeouts: Seconds between tokens.
        first_by: Instant of the event loop's clock by which the first token must be there.
        total_by: Instant by which the last one must be.
    """

    def __init__(
        self, endpoint: str, response: httpx2.Response, timeouts: Timeouts, *, first_by: float, total_by: float
    ) -> None:
        self._endpoint = endpoint
        self._response = response
        self._chunks = response.aiter_bytes() if "content-encoding" in response.headers else response.aiter_raw()
        self._decoder = EventDecoder()
        self._timeouts = timeouts
        self._first_by: float | None = first_by
        self._total_by = total_by
        self._clock = asyncio.get_running_loop().time
        self._alarm = Alarm()

    async def next(self) -> Arrived:
        """Wait for the next text, or for the end.

        Events that arrived together are returned together. `is_done` marks the end.

        Raises:
            EndpointTimedOut: No token within the limits.
            EndpointUnavailable: The connection broke, or the stream cannot be read.
            EndpointError: What the server reported inside the stream.
        """
        by = self._clock() + self._timeouts.idle_token_s if self._first_by is None else self._first_by
        first_by = by if self._total_by < by else self._first_by
        self._alarm.start(min(by, self._total_by))
        try:
            arrived = await self._read()
        except asyncio.CancelledError as error:
            if self._alarm.has_rung():
                raise EndpointTimedOut(self._endpoint, self._timeouts.late(first_by, self._total_by)) from error
            raise
        except CLIENT_ERRORS as error:
            raise from_exception(self._endpoint, error) from error
        finally:
            self._alarm.stop()
        if arrived.text or arrived.reasoning:
            self._first_by = None
        return arrived

    async def drain(self) -> None:
        """Read to the end of the body, so that the connection can be used again."""
        with contextlib.suppress(TimeoutError, *CLIENT_ERRORS):
            async with asyncio.timeout(DRAIN_S):
                async for _ in self._chunks:
                    pass

    async def aclose(self) -> None:
        """Close the request; a server that is still decoding aborts it."""
        self._alarm.close()
        with contextlib.suppress(*CLIENT_ERRORS):
            await self._chunks.aclose()
            await self._response.aclose()

    async def _read(self) -> Arrived:
        """Read until there is text or the end."""
        pending = Arrived()
        async for chunk in self._chunks:
            events = self._decoder.feed(chunk)
            if not events:
                if self._decoder.held_bytes > MAX_EVENT_BYTES:
                    raise EndpointUnavailable(self._endpoint, "the reply is no event stream")
                continue
            read_events(self._endpoint, events, pending)
            if pending.text or pending.reasoning or pending.is_done:
                return pending
        read_events(self._endpoint, self._decoder.finish(), pending)
        pending.is_cut = not pending.is_done
        if pending.is_cut and pending.finish_reason is None and self._first_by is not None:
            raise EndpointUnavailable(self._endpoint, "the reply ended without a completion")
        pending.is_done = True
        return pending
