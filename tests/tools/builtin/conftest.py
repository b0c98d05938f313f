"""A web site and a forbidden listener on the loopback interface, and a resolver that tests write."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

PUBLIC = "93.184.215.14"
"""A public address; connections to it reach the test's own site instead."""

PUBLIC_V6 = "2606:2800:21f:cb07:6820:80da:af6b:8b2c"


@dataclass
class Site:
    """A web site on a loopback port: answers by path, and every request it saw."""

    port: int
    pages: dict[str, tuple[int, dict[str, str], bytes]] = field(default_factory=dict)
    seen: list[tuple[str, dict[str, str]]] = field(default_factory=list)

    def page(self, path: str, body: bytes, kind: str = "text/plain", status: int = 200, **headers: str) -> None:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self.pages[path] = (status, {"content-type": kind, **named}, body)

    def redirect(self, path: str, location: str, status: int = 302) -> None:
        self.pages[path] = (status, {"location": location}, b"")


@dataclass
class Listener:
    """Counts connections that must not happen."""

    port: int
    connections: int = 0


class Resolver:
    """Answers in turn from a list per host, the last one for ever; unknown hosts are on the loopback interface."""

    def __init__(self, answers: dict[str, list[list[str]]]) -> None:
        self.answers = answers
        self.asked: list[str] = []

    async def __call__(self, host: str, port: int) -> list[str]:
        self.asked.append(host)
        turns = self.answers.get(host, [["127.0.0.1"]])
        return turns.pop(0) if len(turns) > 1 else turns[0]


@pytest.fixture
def site() -> Iterator[Site]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            found.seen.append((self.path, {name.lower(): value for name, value in self.headers.items()}))
            status, headers, body = found.pages.get(self.path, (404, {"content-type": "text/plain"}, b"no such page"))
            self.send_response(status)
            for name, value in {**headers, "content-length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Stay quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.handle_error = lambda *_: None  # type: ignore[method-assign]  # a client may hang up in mid-page
    found = Site(server.server_port)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield found
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def forbidden() -> Iterator[Listener]:
    """Listen on every loopback address, of both families where there are two."""
    sockets = [_bound(socket.AF_INET, "0.0.0.0", 0)]
    found = Listener(sockets[0].getsockname()[1])
    if socket.has_ipv6:
        with suppress(OSError):
            sockets.append(_bound(socket.AF_INET6, "::1", found.port))
    threads = [threading.Thread(target=_count, args=(each, found), daemon=True) for each in sockets]
    for thread in threads:
        thread.start()
    yield found
    for each in sockets:
        each.shutdown(socket.SHUT_RDWR)
        each.close()
    for thread in threads:
        thread.join()


@pytest.fixture
def connect(site: Site) -> Callable[[], Any]:
    """Open plain transports; what goes to a public address reaches the site, all else goes where it says."""
    import httpx2

    from loopwright.tools.builtin.http_fetch import plain_transport

    class Detour(httpx2.AsyncBaseTransport):
        def __init__(self) -> None:
            self.plain = plain_transport()

        async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
            if request.url.host in (PUBLIC, PUBLIC_V6):
                request.url = request.url.copy_with(host="127.0.0.1", port=site.port)
            return await self.plain.handle_async_request(request)

        async def aclose(self) -> None:
            await self.plain.aclose()

    return Detour


def _bound(family: int, host: str, port: int) -> socket.socket:
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.bind((host, port))
    listener.listen(200)
    return listener


def _count(listener: socket.socket, found: Listener) -> None:
    answer = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 6\r\nconnection: close\r\n\r\nsecret"
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        found.connections += 1
        with connection:
            try:
                connection.recv(65_536)
                connection.sendall(answer)
            except OSError:
                continue
