"""A model server that says what a test wrote down, over real sockets: good streams, and all that goes wrong."""

import asyncio
import contextlib
import json
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from typing import Any


class Act(Enum):
    """What a server may do instead of sending bytes."""

    STALL = "say nothing until the client hangs up"
    RESET = "reset the connection"
    CLOSE = "close the connection without ending the body"
    WAIT = "wait until the test sets the server's `gate`"


@dataclass(frozen=True, slots=True)
class Reply:
    """One scripted answer. `parts` are sent in order: bytes as one chunk each, a number as a pause in seconds."""

    parts: tuple[bytes | float | Act, ...] = ()
    status: int = 200
    headers: dict[str, str] = field(default_factory=lambda: {"content-type": "text/event-stream"})


@dataclass(frozen=True, slots=True)
class Seen:
    """A request as it arrived."""

    method: str
    path: str
    headers: dict[str, str]
    body: Any


def event(value: Any) -> bytes:
    """Return one server-sent event."""
    return b"data: " + json.dumps(value).encode() + b"\n\n"


def chunk(text: str | None = None, *, finish: str | None = None, **delta: Any) -> bytes:
    """Return the event of one piece of a completion."""
    content = delta if text is None else {"content": text} | delta
    choice = {"index": 0, "delta": content, "finish_reason": finish}
    return event({"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]})


DONE = b"data: [DONE]\n\n"
USAGE = {"prompt_tokens": 7, "completion_tokens": 3, "prompt_tokens_details": {"cached_tokens": 4}}


def usage(value: Any = USAGE) -> bytes:
    """Return the event that counts tokens."""
    return event(
        {"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [], "usage": value}
    )


def says(*texts: str, finish: str = "stop") -> Reply:
    """Return a faultless completion, one event per text."""
    pieces = (chunk("", role="assistant"), *(chunk(text) for text in texts), chunk(finish=finish), usage(), DONE)
    return Reply(pieces)


def does(*parts: bytes | float | Act) -> Reply:
    """Return a completion that sends exactly these parts."""
    return Reply(parts)


def fails(status: int, message: str = "no", **headers: str) -> Reply:
    """Return an error page in OpenAI's form."""
    page = json.dumps({"error": {"message": message, "type": "x", "param": None, "code": status}}).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Reply((page,), status, {"content-type": "application/json"} | named)


def answers(value: Any) -> Reply:
    """Return a plain JSON answer."""
    return Reply((json.dumps(value).encode(),), 200, {"content-type": "application/json"})


def completes(text: str) -> Reply:
    """Return a completion that is not streamed."""
    return answers({"choices": [{"index": 0, "message": {"role": "assistant", "content": text}}]})


Script = Callable[[Seen], Reply]


class FakeServer:
    """Serves scripted replies on a loopback port, from a thread with an event loop of its own.

    Chat completions take the replies in order; the last one serves all further requests. `GET /v1/models` has its own.
    """

    def __init__(self, *replies: Reply | Script, models: Reply | None = None) -> None:
        self._replies = list(replies)
        self._models = models or answers({"object": "list", "data": [{"id": "m", "max_model_len": 4096}]})
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._listening = threading.Event()
        self._hung_up = threading.Event()
        self.gate = threading.Event()
        self._port = 0
        self._conversations: set[asyncio.Task[Any]] = set()
        self.requests: list[Seen] = []
        self.connections = 0

    @property
    def url(self) -> str:
        """Base URL for a client."""
        return f"http://127.0.0.1:{self._port}/v1"

    @property
    def chats(self) -> list[Seen]:
        """The chat completions that were asked for."""
        return [each for each in self.requests if each.path.endswith("/chat/completions")]

    def wait_for_hang_up(self, timeout_s: float = 10.0) -> bool:
        """Return whether a client left a stalled reply within the time."""
        return self._hung_up.wait(timeout_s)

    def __enter__(self) -> "FakeServer":
        self._thread.start()
        assert self._listening.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._server = self._loop.run_until_complete(asyncio.start_server(self._accept, "127.0.0.1", 0))
        self._port = self._server.sockets[0].getsockname()[1]
        self._listening.set()
        self._loop.run_forever()

    async def _stop(self) -> None:
        """End all conversations; a connection that is just being accepted is waited for, so that no socket is left."""
        self._server.close()
        while len(asyncio.all_tasks()) > 1:
            for task in self._conversations:
                task.cancel()
            await asyncio.sleep(0.005)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        self._conversations.add(task)
        task.add_done_callback(self._conversations.discard)
        writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            while seen := await _read_request(reader):
                self.requests.append(seen)
                if not await self._send(self._reply_to(seen), reader, writer):
                    break
        writer.close()
        with contextlib.suppress(ConnectionError, asyncio.CancelledError):
            await writer.wait_closed()

    def _reply_to(self, seen: Seen) -> Reply:
        if not seen.path.endswith("/chat/completions"):
            return self._models if seen.path.endswith("/models") else fails(404)
        reply = self._replies.pop(0) if len(self._replies) > 1 else self._replies[0]
        return reply if isinstance(reply, Reply) else reply(seen)

    async def _send(self, reply: Reply, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Send one reply; return whether the connection can serve another."""
        headers = reply.headers | {"transfer-encoding": "chunked"}
        head = f"HTTP/1.1 {reply.status} X\r\n" + "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        writer.write(head.encode() + b"\r\n")
        for part in reply.parts:
            match part:
                case bytes():
                    writer.write(b"%x\r\n%b\r\n" % (len(part), part))
                    await writer.drain()
                case Act.STALL:
                    await reader.read()
                    self._hung_up.set()
                    return False
                case Act.RESET:
                    writer.get_extra_info("socket").setsockopt(
                        socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
                    )
                    writer.transport.abort()
                    return False
                case Act.CLOSE:
                    return False
                case Act.WAIT:
                    await asyncio.to_thread(self.gate.wait, 10)
                case _:
                    await asyncio.sleep(part)
        writer.write(b"0\r\n\r\n")
        await writer.drain()
        return True


async def _read_request(reader: asyncio.StreamReader) -> Seen | None:
    line = await reader.readline()
    if not line:
        return None
    method, path, _ = line.decode().split(" ", 2)
    headers: dict[str, str] = {}
    while (line := await reader.readline()) not in (b"\r\n", b""):
        name, _, value = line.decode().partition(":")
        headers[name.strip().lower()] = value.strip()
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Seen(method, path, headers, json.loads(body) if body else None)


@contextlib.contextmanager
def nobody_listens() -> Iterator[str]:
    """Yield the URL of a port that refuses connections for the length of the block."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{held.getsockname()[1]}/v1"
