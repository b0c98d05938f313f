"""A lean HTTP/1.1 client for the hot path: a request to a model server costs a tenth of what httpx2 takes for it.

One connection carries one request at a time; idle ones lie on a stack. Plain `http://` without a proxy only, no
redirects, no cookies; everything else goes through httpx2 (`connection`). Parsed by httptools (llhttp). Raises httpx2's
errors, so that both ways look alike from outside. Source: RFC 9112.
"""

import asyncio
import time
import zlib
from collections import deque
from collections.abc import AsyncGenerator, Callable, Mapping
from typing import Protocol, cast

import httptools
import httpx2

from .spread import IDLE_S

HIGH_BYTES = 256 * 1024
"""Bytes of a body that may wait for their reader; a server that sends faster is made to wait."""

MAX_HEAD_BYTES = 64 * 1024
"""Longest head of a response."""

_GZIP_OR_ZLIB = 47


class Response(Protocol):
    """An open response, ours or httpx2's."""

    @property
    def status_code(self) -> int:
        """The status."""
        ...

    @property
    def headers(self) -> Mapping[str, str]:
        """The head, by lower-case names."""
        ...

    def aiter_raw(self) -> AsyncGenerator[bytes, None]:
        """Yield the body as it arrives."""
        ...

    def aiter_bytes(self) -> AsyncGenerator[bytes, None]:
        """Yield the body, decompressed where the server compressed it."""
        ...

    async def aread(self) -> bytes:
        """Return the whole body."""
        ...

    async def aclose(self) -> None:
        """Let go of the connection; a body that has not ended is cut off."""
        ...


class Http1:
    """Connections to one host.

    Args:
        url: Scheme `http`, host and port count.
        connect_s: Longest wait for a connection.
        keep: Idle connections kept open.
        clock: Seconds, for the age of idle connections.
    """

    def __init__(
        self, url: httpx2.URL, *, connect_s: float, keep: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._host, self._port = url.host, url.port or 80
        self._host_header = url.netloc.decode("ascii")
        self._connect_s = connect_s
        self._keep = keep
        self._clock = clock
        self._idle: deque[tuple[_Link, float]] = deque()
        self._is_closed = False

    @property
    def idle(self) -> int:
        """How many connections wait for a request."""
        return len(self._idle)

    async def send(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> "Answer":
        """Send a request and return the response once its head is there.

        Raises:
            httpx2.HTTPError: The server cannot be reached, or does not speak HTTP.
        """
        lines = [f"{method} {target} HTTP/1.1", f"Host: {self._host_header}", f"Content-Length: {len(body)}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        head = "\r\n".join(lines)
        if head.count("\n") != len(lines) - 1 or head.count("\r") != len(lines) - 1:
            raise httpx2.LocalProtocolError("a header holds a line break")
        link = self._take() or await self._connect()
        try:
            await link.begin(f"{head}\r\n\r\n".encode("latin-1"), body)
        except BaseException:
            link.cut()
            raise
        return Answer(link, self._give_back)

    def close(self) -> None:
        """Close idle connections; those in use are closed when their responses are."""
        self._is_closed = True
        while self._idle:
            self._idle.pop()[0].cut()

    def _take(self) -> "_Link | None":
        while self._idle and self._clock() - self._idle[0][1] > IDLE_S:
            self._idle.popleft()[0].cut()
        while self._idle:
            link = self._idle.pop()[0]
            if link.is_open:
                return link
        return None

    async def _connect(self) -> "_Link":
        try:
            async with asyncio.timeout(self._connect_s):
                loop = asyncio.get_running_loop()
                _, link = await loop.create_connection(_Link, self._host, self._port)
        except TimeoutError as exc:
            raise httpx2.ConnectTimeout(f"no connection to {self._host_header} within {self._connect_s:g} s") from exc
        except OSError as exc:
            raise httpx2.ConnectError(str(exc)) from exc
        return link

    def _give_back(self, link: "_Link") -> None:
        if self._is_closed or len(self._idle) >= self._keep or not link.can_serve_again:
            link.cut()
        else:
            self._idle.append((link, self._clock()))


class Answer:
    """An open response; see `Response`."""

    def __init__(self, link: "_Link", give_back: Callable[["_Link"], None]) -> None:
        self._link: _Link | None = link
        self._give_back = give_back
        self.status_code = link.status
        self.headers: Mapping[str, str] = link.headers

    async def aiter_raw(self) -> AsyncGenerator[bytes, None]:
        """Yield the body as it arrives. Raises httpx2.ReadError, httpx2.RemoteProtocolError."""
        while self._link is not None and (chunk := await self._link.chunk()):
            yield chunk

    async def aiter_bytes(self) -> AsyncGenerator[bytes, None]:
        """Yield the body, decompressed; servers were asked not to compress. Raises httpx2.DecodingError besides."""
        coding = self.headers.get("content-encoding", "identity").strip().lower()
        if coding not in ("identity", "gzip", "deflate"):
            raise httpx2.DecodingError(f"the body comes in an unknown coding, {coding[:40]!r}")
        unpack = zlib.decompressobj(_GZIP_OR_ZLIB) if coding != "identity" else None
        async for chunk in self.aiter_raw():
            try:
                yield unpack.decompress(chunk) if unpack else chunk
            except zlib.error as exc:
                raise httpx2.DecodingError(str(exc)) from exc

    async def aread(self) -> bytes:
        """Return the whole body."""
        return b"".join([chunk async for chunk in self.aiter_bytes()])

    async def aclose(self) -> None:
        """Let go of the connection, once."""
        link, self._link = self._link, None
        if link is not None:
            self._give_back(link)


class _Link(asyncio.Protocol):
    """One connection: a request out, a response in."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._error: Exception | None = None
        self.is_open = True
        self._forget()

    def _forget(self) -> None:
        """Be ready for the next response."""
        self._parser = httptools.HttpResponseParser(self)
        self.status = 0
        self.headers: dict[str, str] = {}
        self._chunks: deque[bytes] = deque()
        self._held = self._head_bytes = 0
        self._has_head = self._is_done = self._is_paused = self._is_kept = False

    @property
    def can_serve_again(self) -> bool:
        """Whether the response ended and the server keeps the connection."""
        return self.is_open and self._is_done and self._is_kept and not self._chunks

    async def begin(self, head: bytes, body: bytes) -> None:
        """Send a request and wait for the head of its response."""
        assert self._transport is not None
        self._forget()
        self._transport.writelines((head, body))
        while not self._has_head:
            await self._news()

    async def chunk(self) -> bytes:
        """Return what has arrived of the body, waiting for it; nothing at its end."""
        while not self._chunks and not self._is_done:
            await self._news()
        if not self._chunks:
            return b""
        found = self._chunks.popleft() if len(self._chunks) == 1 else b"".join(self._chunks)
        self._chunks.clear()
        self._held = 0
        if self._is_paused and self._transport is not None and self.is_open:
            self._is_paused = False
            self._transport.resume_reading()
        return found

    def cut(self) -> None:
        """Close the connection at once."""
        self.is_open = False
        if self._transport is not None:
            self._transport.abort()

    async def _news(self) -> None:
        if self._error is not None:
            raise self._error
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _fail(self, error: Exception) -> None:
        self._error = self._error or error
        self.is_open = False
        self._wake()

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Have a connection."""
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Take bytes of the response; bytes that nobody asked for end the connection."""
        if self._is_done or not self.is_open:
            self.cut()
            return
        if not self._has_head:
            self._head_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as exc:
            self._fail(httpx2.RemoteProtocolError(f"the server does not speak HTTP/1.1: {exc}"))
            self.cut()
            return
        if not self._has_head and self._head_bytes > MAX_HEAD_BYTES:
            self._fail(httpx2.RemoteProtocolError("the head of the response does not end"))
            self.cut()
            return
        if self._held > HIGH_BYTES and not self._is_paused and not self._is_done and self._transport is not None:
            self._is_paused = True
            self._transport.pause_reading()
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        """Be left by the server: the end of a body that has no other, else an error."""
        self.is_open = False
        if self._has_head and not self._is_done and exc is None and self._ends_with_connection:
            self._is_done = True
            self._wake()
        elif not self._is_done:
            self._fail(
                httpx2.ReadError(str(exc))
                if exc is not None
                else httpx2.RemoteProtocolError("the server closed the connection before the response ended")
            )

    @property
    def _ends_with_connection(self) -> bool:
        return "content-length" not in self.headers and "transfer-encoding" not in self.headers

    # What httptools calls.

    def on_message_begin(self) -> None:
        """Begin a response; one behind the answer was not asked for, so the connection is not used again."""
        self._is_kept = self._is_kept and not self._is_done

    def on_header(self, name: bytes, value: bytes) -> None:
        """Have one header; a repeated one is joined by commas."""
        if self._is_done:
            return
        key, text = name.decode("latin-1").lower(), value.decode("latin-1")
        self.headers[key] = f"{self.headers[key]}, {text}" if key in self.headers else text

    def on_headers_complete(self) -> None:
        """Have the whole head; one of an interim response is thrown away."""
        if self._is_done:
            return
        self.status = self._parser.get_status_code()
        if self.status < 200:
            self.headers = {}
            return
        self._has_head = True
        self._is_kept = self._parser.should_keep_alive()

    def on_body(self, data: bytes) -> None:
        """Have bytes of the body."""
        if self._is_done:
            return
        self._chunks.append(data)
        self._held += len(data)

    def on_message_complete(self) -> None:
        """Have the whole response."""
        self._is_done = self._has_head
