"""A receiver of webhooks on the loopback interface, and events for it."""

import contextlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from loopwright.memory.journal.ids import shard_of_tenant


@dataclass(frozen=True)
class Received:
    """One request that came in."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]


@dataclass
class Receiver:
    """Answers each request with what `answer` returns: a status, or a status and headers."""

    port: int = 0
    answer: Callable[[Received], int | tuple[int, dict[str, str]]] = lambda _: 204
    received: list[Received] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    @property
    def allow(self) -> str:
        """What `webhook_allow` must say for it."""
        return f"127.0.0.1:{self.port}"


@contextlib.contextmanager
def receiver(answer: Callable[[Received], Any] = lambda _: 204) -> Iterator[Receiver]:
    """Run a receiver for the length of the block."""
    found = Receiver(answer=answer)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            if len(body) < int(self.headers["content-length"]):
                return  # the sender died in the middle
            seen = Received(self.path, {name.lower(): value for name, value in self.headers.items()}, body)
            found.received.append(seen)
            answer = found.answer(seen)
            status, headers = answer if isinstance(answer, tuple) else (answer, {})
            with contextlib.suppress(OSError):
                self.send_response(status)
                for name, value in {"content-length": "0", **headers}.items():
                    self.send_header(name, value)
                self.end_headers()

        do_GET = do_POST

        def log_message(self, *_: Any) -> None:
            """Stay quiet."""

    class Server(ThreadingHTTPServer):
        request_queue_size = 256
        daemon_threads = True

        def handle_error(self, *_: Any) -> None:
            """A dispatcher may be killed in the middle of a request."""

    server = Server(("127.0.0.1", 0), Handler)
    found.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield found
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


async def tell(client: Any, run_id: str, url: str, status: str = "succeeded", tenant: str = "acme") -> None:
    """Write what the journal's transition writes when a run ends or waits."""
    fields = {"run": run_id, "tenant": tenant, "status": status, "reason": "", "url": url, "at": "1764000000123"}
    await client.xadd(f"{{s{shard_of_tenant(tenant):02d}}}:outbox", fields)
