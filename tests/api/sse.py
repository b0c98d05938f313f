"""A client of event streams that sees every byte, and can be as slow or as rude as a test wants."""

import asyncio
import json
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

PATIENCE_S = 20.0


@dataclass
class Frame:
    """One event, or a comment."""

    id: str | None = None
    event: str = ""
    data: Any = None
    comment: str = ""


@dataclass
class EventClient:
    """One open stream over a plain socket."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    status: int
    headers: dict[str, str]
    _chunk: bytes = b""
    frames: list[Frame] = field(default_factory=list)

    @classmethod
    async def open(cls, url: str, path: str, limit: int = 1 << 16, **headers: str) -> "EventClient":
        """Ask for a stream and read the head of the answer."""
        parts = urlsplit(url)
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port, limit=limit)
        sent = {"host": parts.netloc, "accept": "text/event-stream"} | headers
        lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in sent.items())
        writer.write(f"GET {path} HTTP/1.1\r\n{lines}\r\n".encode())
        async with asyncio.timeout(PATIENCE_S):
            head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        found = dict(line.split(": ", 1) for line in head[1:] if line)
        return cls(reader, writer, int(head[0].split()[1]), found)

    async def next(self) -> Frame | None:
        """Return the next frame, or `None` behind a clean end."""
        async with asyncio.timeout(PATIENCE_S):
            while b"\n\n" not in self._chunk:
                size = int(await self.reader.readuntil(b"\r\n"), 16)
                body = await self.reader.readexactly(size + 2)
                if size == 0:
                    return None
                self._chunk += body[:-2]
        raw, _, self._chunk = self._chunk.partition(b"\n\n")
        return _frame(raw.decode())

    async def event(self) -> Frame | None:
        """Return the next frame that is no comment."""
        while (frame := await self.next()) is not None and frame.comment:
            pass
        return frame

    async def rest(self) -> list[Frame]:
        """Return all events up to a clean end."""
        found = []
        while (frame := await self.event()) is not None:
            found.append(frame)
        return found

    async def close(self) -> None:
        """Leave."""
        self.writer.close()
        await asyncio.gather(self.writer.wait_closed(), return_exceptions=True)


def _frame(text: str) -> Frame:
    frame = Frame()
    for line in text.split("\n"):
        name, _, value = line.partition(":")
        if not name:
            frame.comment = value.strip()
        elif name == "id":
            frame.id = value.strip()
        elif name == "event":
            frame.event = value.strip()
        elif name == "data":
            frame.data = json.loads(value)
    return frame
