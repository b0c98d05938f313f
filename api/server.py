"""The API as a process: uvicorn with our own bounds, started by code and ended in order.

What uvicorn leaves open is bounded here: heads of requests in size and time, streams at the end of the process.
"""

import asyncio
import contextlib
import ipaddress
import resource
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from ..errors import SettingsInvalid
from .app import Api
from .service import Service
from .streams import ABORT_KEY

if TYPE_CHECKING:
    from ..settings import Settings

MAX_HEAD_BYTES = 65_536
"""Most bytes of a request's head."""

HEAD_S = 15.0
"""Seconds within which the head of a request must have arrived."""

KEEP_ALIVE_S = 30
"""Seconds for which a connection without a request stays open."""

_REAP_TICKS = 20
"""Connections are looked at every so many ticks of uvicorn, which last 0.1 s."""

_TOO_LARGE = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-type: text/plain\r\ncontent-length: 31\r\n"
    b"connection: close\r\n\r\nthe head of the request is huge"
)


class Protocol(HttpToolsProtocol):
    """A connection that says since when it waits for the head of a request."""

    def connection_made(self, transport: Any) -> None:
        """Take a new connection."""
        super().connection_made(transport)
        self.waits_since: float | None = self.loop.time()
        self._is_in_head = False
        self._head_size = 0

    def on_message_begin(self) -> None:
        """Begin a request."""
        super().on_message_begin()
        self.waits_since = self.loop.time()
        self._is_in_head, self._head_size = True, 0
        scope: Any = self.scope
        scope[ABORT_KEY] = self.transport.abort

    def on_headers_complete(self) -> None:
        """Have the whole head of a request."""
        self._is_in_head = False
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Have the whole request."""
        self.waits_since = None
        super().on_message_complete()

    def data_received(self, data: bytes) -> None:
        """Take bytes; cut off a head that does not end."""
        super().data_received(data)
        if self._is_in_head:
            self._head_size += len(data)
            if self._head_size > MAX_HEAD_BYTES and not self.transport.is_closing():
                self.transport.write(_TOO_LARGE)
                self.transport.close()

    def is_stale(self, now: float) -> bool:
        """Return whether the client takes too long over a request that nobody works on."""
        if self.waits_since is None or now - self.waits_since < HEAD_S:
            return False
        return self.cycle is None or self.cycle.response_complete


class ApiServer(uvicorn.Server):
    """uvicorn's server, told when to stop by the process that runs it.

    Args:
        api: The application.
        sock: Bound, not yet listening.
        grace_s: How long requests in flight may take at the end.
        on_ready: Called once connections are taken.
    """

    def __init__(self, api: Api, sock: socket.socket, *, grace_s: float, on_ready: Callable[[], None]) -> None:
        config = uvicorn.Config(
            api, interface="asgi3", http=Protocol, ws="none", lifespan="off", log_config=None, access_log=False,
            server_header=False, proxy_headers=False, timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=max(1, int(grace_s)), backlog=2048,
        )  # fmt: skip
        super().__init__(config)
        self._api = api
        self._sock = sock
        self._on_ready = on_ready

    async def run_until_told(self) -> None:
        """Serve until `stop` is called or a task that runs this is cancelled."""
        try:
            await self._serve([self._sock])
        except asyncio.CancelledError:
            self._api.stop()
            raise

    def stop(self) -> None:
        """End the server: no new connections, streams end, requests in flight may finish."""
        self.should_exit = True

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to listen."""
        await super().startup(sockets)
        self._on_ready()

    async def on_tick(self, counter: int) -> bool:
        """Look after connections."""
        if counter % _REAP_TICKS == 0:
            now = asyncio.get_running_loop().time()
            for connection in tuple(self.server_state.connections):
                if isinstance(connection, Protocol) and connection.is_stale(now):
                    connection.transport.abort()
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End what is open."""
        self._api.stop()
        await super().shutdown(sockets)


def run_api(settings: "Settings", sources: Sequence[str]) -> int:
    """Serve the API until SIGTERM or SIGINT.

    Prints one line on standard error when it listens: `loopwright api listening on http://HOST:PORT`.

    Args:
        settings: Where Redis is, and where to listen; port 0 takes any free one.
        sources: Files, folders or modules with agents.

    Returns:
        The exit code.

    Raises:
        LoadFailed, DefinitionInvalid: An agent cannot be loaded.
        SettingsInvalid: The address cannot be used, or is not loopback while there are no keys.
        JournalUnavailable, RedisMissing: There is no Redis.
    """
    import uvloop

    _raise_file_limit()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(settings, sources))
    return 0


async def _serve(settings: "Settings", sources: Sequence[str]) -> None:
    from ..agents.loader import load
    from ..agents.registry import Registry
    from ..memory.store import open_store
    from ..workers.doorbell import Doorbell

    registry = Registry(agent for source in sources for agent in load(source))
    async with open_store(settings) as store, contextlib.AsyncExitStack() as stack:
        await store.keys.check()
        has_keys = await store.keys.any()
        sock = stack.enter_context(bound_socket(settings.host, settings.port, is_open=has_keys))
        doorbell = Doorbell(store.client)
        stack.push_async_callback(doorbell.aclose)
        flushing = asyncio.create_task(store.metrics.run(), name="metrics")
        stack.push_async_callback(_ended, flushing)
        api = Api(Service(settings, registry, store, doorbell))
        server = ApiServer(api, sock, grace_s=settings.grace_s, on_ready=lambda: _announce(sock, has_keys))
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, server.stop)
        await server.run_until_told()


def bound_socket(host: str, port: int, *, is_open: bool) -> socket.socket:
    """Return a socket that is bound to an address of this machine.

    Args:
        host: Name or address.
        port: 0 takes any free one.
        is_open: Whether other machines may be served.

    Raises:
        SettingsInvalid: There is no such address, it is in use, or it is not loopback and `is_open` is false.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as exc:
        raise SettingsInvalid("host", f"{host!r} is no address of this machine: {exc}") from exc
    family, _, _, _, address = min(found, key=lambda each: each[0] != socket.AF_INET)
    if not is_open and not ipaddress.ip_address(address[0]).is_loopback:
        raise SettingsInvalid(
            "host",
            f"{host} can be reached from other machines, and there are no API keys yet: make one with "
            "`loopwright keys create`, or listen on 127.0.0.1",
        )
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(address)
    except OSError as exc:
        sock.close()
        raise SettingsInvalid(
            "port", f"cannot listen on {host}:{port}: {exc.strerror}; --port names another, 0 any free one"
        ) from exc
    return sock


def url_of(sock: socket.socket) -> str:
    """Return the URL at which a bound socket is reached."""
    host, port = sock.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _announce(sock: socket.socket, has_keys: bool) -> None:
    if not has_keys:
        print("loopwright api: no API keys, so programs on this machine alone are served", file=sys.stderr)
    print(f"loopwright api listening on {url_of(sock)}", file=sys.stderr, flush=True)


def _raise_file_limit() -> None:
    """Allow as many connections as the system lets us."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


async def _ended(task: "asyncio.Task[Any]") -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
