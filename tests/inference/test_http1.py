"""The lean client against bytes as servers really send them: cut anywhere, kept, closed, compressed, broken."""

import asyncio
import gzip
from collections.abc import Awaitable, Callable

import httpx2
import pytest

from loopwright.inference.http1 import HIGH_BYTES, Http1
from loopwright.inference.spread import IDLE_S

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello"
Use = Callable[[Http1], Awaitable[None]]


class Scripted:
    """Answers each request with the next bytes; `None` hangs up without a word."""

    def __init__(self, *replies: bytes | None, closes: bool = False, piece: int = 1 << 20) -> None:
        self.replies = list(replies)
        self.closes = closes
        self.piece = piece
        self.connections = 0
        self.requests: list[bytes] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
                self.requests.append(head + await reader.readexactly(length))
                reply = self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]
                for at in range(0, len(reply or b""), self.piece):
                    writer.write((reply or b"")[at : at + self.piece])
                    await writer.drain()
                    await asyncio.sleep(0)
                if reply is None or self.closes:
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        writer.close()


def against(server: Scripted, use: Use, **how: float) -> None:
    """Let a client use a server."""

    async def go() -> None:
        listener = await asyncio.start_server(server.serve, "127.0.0.1", 0)
        port = listener.sockets[0].getsockname()[1]
        client = Http1(httpx2.URL(f"http://127.0.0.1:{port}/v1"), connect_s=5, keep=4, **how)  # type: ignore[arg-type]
        async with asyncio.timeout(20):
            await use(client)
        client.close()
        listener.close()
        await asyncio.sleep(0.05)

    asyncio.run(go())


async def ask(client: Http1, body: bytes = b"{}") -> bytes:
    answer = await client.send("POST", "/v1/x", {"Accept": "*/*"}, body)
    try:
        return await answer.aread()
    finally:
        await answer.aclose()


@pytest.mark.parametrize("piece", [1, 7, 1 << 20])
@pytest.mark.parametrize(
    "reply",
    [
        OK,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n",
        b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n" + OK,
        b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: %d\r\n\r\n%b"
        % (len(gzip.compress(b"hello")), gzip.compress(b"hello")),
    ],
)
def test_a_body_arrives_whole_however_it_is_framed_and_cut(reply: bytes, piece: int) -> None:
    server = Scripted(reply, piece=piece)

    async def use(client: Http1) -> None:
        assert [await ask(client) for _ in range(3)] == [b"hello"] * 3

    against(server, use)
    assert server.connections == 1, "the connection is used again"
    assert server.requests[0].startswith(b"POST /v1/x HTTP/1.1\r\nHost: 127.0.0.1:")
    assert server.requests[0].endswith(b"\r\n\r\n{}")


def test_a_body_may_end_with_its_connection() -> None:
    server = Scripted(b"HTTP/1.1 200 OK\r\n\r\nhello", closes=True)

    async def use(client: Http1) -> None:
        assert await ask(client) == b"hello"
        assert await ask(client) == b"hello"

    against(server, use)
    assert server.connections == 2


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (None, httpx2.RemoteProtocolError),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhello", httpx2.RemoteProtocolError),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n", httpx2.RemoteProtocolError),
        (b"SSH-2.0-OpenSSH\r\n\r\n", httpx2.RemoteProtocolError),
        (b"HTTP/1.1 200 OK\r\nx: " + b"y" * 100_000, httpx2.RemoteProtocolError),
        (b"HTTP/1.1 200 OK\r\ncontent-encoding: br\r\ncontent-length: 1\r\n\r\nx", httpx2.DecodingError),
        (b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 5\r\n\r\nhello", httpx2.DecodingError),
    ],
)
def test_what_is_no_whole_response_is_an_error(reply: bytes | None, error: type[Exception]) -> None:
    async def use(client: Http1) -> None:
        with pytest.raises(error):
            await ask(client)
        await asyncio.sleep(0.05)

    against(Scripted(reply, closes=True), use)


def test_a_connection_that_its_server_closed_meanwhile_is_not_used_again() -> None:
    server = Scripted(OK, closes=True)

    async def use(client: Http1) -> None:
        assert await ask(client) == b"hello"
        await asyncio.sleep(0.05)
        assert await ask(client) == b"hello"

    against(server, use)
    assert server.connections == 2


def test_a_server_that_asks_to_close_is_left_and_one_that_says_more_than_asked_is_cut_off() -> None:
    async def use(client: Http1) -> None:
        assert await ask(client) == b"hello"
        assert client.idle == 0

    against(Scripted(OK.replace(b"OK\r\n", b"OK\r\nconnection: close\r\n")), use)

    async def used(client: Http1) -> None:
        await ask(client)
        await asyncio.sleep(0.05)
        assert await ask(client) == b"hello"

    chatty = Scripted(OK + b"HTTP/1.1 200 OK\r\n")
    against(chatty, used)
    assert chatty.connections == 2, "bytes that nobody asked for belong to no later request"


def test_idle_connections_are_few_and_not_old() -> None:
    server, now = Scripted(OK), [0.0]

    async def use(client: Http1) -> None:
        await asyncio.gather(*(ask(client) for _ in range(6)))
        assert client.idle == 4
        now[0] += IDLE_S + 1
        await ask(client)
        assert client.idle == 1

    against(server, use, clock=lambda: now[0])  # type: ignore[arg-type]
    assert server.connections == 7


def test_a_body_that_is_not_read_to_its_end_costs_its_connection_and_no_memory() -> None:
    size_bytes = 64 * HIGH_BYTES
    server = Scripted(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % size_bytes + b"x" * size_bytes)

    async def use(client: Http1) -> None:
        answer = await client.send("POST", "/", {}, b"")
        await asyncio.sleep(0.1)
        assert len(await anext(answer.aiter_raw())) < 8 * HIGH_BYTES, "the server waits for its reader"
        await answer.aclose()
        assert client.idle == 0
        assert len(await ask(client)) == size_bytes

    against(server, use)


def test_a_request_that_is_given_up_leaves_no_connection_behind() -> None:
    async def use(client: Http1) -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await ask(client)
        assert client.idle == 0

    against(Scripted(b""), use)


def test_nobody_who_listens_is_a_connect_error_and_a_line_break_in_a_header_is_refused() -> None:
    async def go() -> None:
        client = Http1(httpx2.URL("http://127.0.0.1:1"), connect_s=1, keep=1)
        with pytest.raises(httpx2.ConnectError):
            await client.send("GET", "/", {}, b"")
        with pytest.raises(httpx2.LocalProtocolError):
            await client.send("GET", "/", {"Authorization": "Bearer a\r\nx: y"}, b"")

    asyncio.run(go())
