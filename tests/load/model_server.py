"""A model server that knows what each run shall do, cheap enough to stand behind thousands of them.

The task says it all: `run=<tag> plan=pay,look+post`. Step n calls the nth item of the plan (`+` joins calls of one
step); behind the last one comes the answer. So a decision depends on the prompt alone, and a run that is carried on
by another worker is decided alike. Run as a script; prints its port. Needs nothing but Python, and speaks enough of
OpenAI's chat completions for `inference.openai_compatible`.

    GET  /seen        {tag: [[step, hash of the messages, monotonic ns of the request's first byte], ...]}
    GET  /count       {"chats": n, "open": connections}
    POST /set         {"delay_s": 0.5, "status": 503}: how later completions behave
    POST /forget      start counting anew
"""

import argparse
import asyncio
import hashlib
import json
import re
import time
from typing import Any

_PLAN = re.compile(rb"run=([\w.-]+) plan=([\w,+]*)")
_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
_SAID = b'{"role":"assistant"'
_USAGE = {"prompt_tokens": 50, "completion_tokens": 10}
_MODELS = {"object": "list", "data": [{"id": "sim", "object": "model", "created": 1, "owned_by": "x"}]}


class World:
    """What the server does and what it saw."""

    def __init__(self, delay_s: float) -> None:
        self.delay_s = delay_s
        self.status = 200
        self.open = 0
        self.chats = 0
        self.seen: dict[str, list[tuple[int, str, int]]] = {}

    def control(self, path: str, body: bytes) -> Any:
        """Answer a request of the harness."""
        if path == "/set":
            for name, value in json.loads(body).items():
                setattr(self, name, value)
        elif path == "/forget":
            self.seen, self.chats = {}, 0
        elif path == "/seen":
            return self.seen
        return {"chats": self.chats, "open": self.open}

    def decide(self, body: bytes, since_ns: int) -> str:
        """Return the decision that this prompt leads to, and remember that it was asked for."""
        self.chats += 1
        found = _PLAN.search(body)
        if not found:
            return json.dumps({"thought": "", "answer": "OK"})
        tag, plan = found[1].decode(), [each for each in found[2].decode().split(",") if each]
        step = body.count(_SAID) + 1
        messages = body[body.index(b'"messages":') + 11 : body.rindex(b',"temperature"')]
        self.seen.setdefault(tag, []).append((step, hashlib.sha256(messages).hexdigest()[:16], since_ns))
        if step > len(plan):
            return json.dumps({"thought": "", "answer": f"{tag} did {len(plan)} steps"})
        calls = [{"tool": tool, "arguments": {"step": step}} for tool in plan[step - 1].split("+")]
        return json.dumps({"thought": "", "calls": calls}, separators=(",", ":"))


class Conversation(asyncio.Protocol):
    """One connection; requests one after another."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._data = b""
        self._since_ns = 0
        self._transport: Any = None

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._world.open += 1

    def connection_lost(self, exc: Exception | None) -> None:
        self._world.open -= 1

    def data_received(self, data: bytes) -> None:
        if not self._data:
            self._since_ns = time.monotonic_ns()
        self._data += data
        while (end := self._data.find(b"\r\n\r\n")) >= 0:
            length = _LENGTH.search(self._data, 0, end)
            whole = end + 4 + (int(length[1]) if length else 0)
            if len(self._data) < whole:
                return
            head, body, self._data = self._data[:end], self._data[end + 4 : whole], self._data[whole:]
            self._answer(head.split(b" ", 2)[1].decode(), body)

    def _answer(self, path: str, body: bytes) -> None:
        if not path.startswith("/v1/"):
            return self._send(200, "application/json", json.dumps(self._world.control(path, body)).encode())
        if not path.endswith("/chat/completions"):
            return self._send(200, "application/json", json.dumps(_MODELS).encode())
        if self._world.status != 200:
            return self._send(self._world.status, "application/json", b'{"error":{"message":"told to"}}')
        text = self._world.decide(body, self._since_ns)
        if b'"stream":true' not in body:
            message = {"role": "assistant", "content": text}
            page = {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}
            return self._send(200, "application/json", json.dumps(page).encode())
        asyncio.get_running_loop().call_later(self._world.delay_s, self._send, 200, "text/event-stream", stream(text))

    def _send(self, status: int, kind: str, body: bytes) -> None:
        if not self._transport.is_closing():
            head = f"HTTP/1.1 {status} X\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}\r\n\r\n"
            self._transport.write(head.encode() + body)


def stream(text: str) -> bytes:
    """Return a completion as server-sent events."""
    said = {"index": 0, "delta": {"role": "assistant", "content": text}, "finish_reason": None}
    end = {"index": 0, "delta": {}, "finish_reason": "stop"}
    chunks = ({"choices": [said]}, {"choices": [end]}, {"choices": [], "usage": _USAGE})
    return b"".join(b"data: %b\n\n" % json.dumps(each).encode() for each in chunks) + b"data: [DONE]\n\n"


async def main() -> None:
    """Serve until killed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--delay-s", type=float, default=0.0)
    parser.add_argument("--port", type=int, default=0)
    options = parser.parse_args()
    world = World(options.delay_s)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Conversation(world), "127.0.0.1", options.port, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
