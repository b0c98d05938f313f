"""A proxy between journal and server that can lose answers, as a failing network does."""

import asyncio
import contextlib
import shutil
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

from ..servers import RedisServer


class LossyProxy:
    """Forwards bytes; while `lose_answers` is positive, each answer is dropped instead and its connection cut."""

    def __init__(self, server: RedisServer) -> None:
        self._server = server
        self._folder = Path(tempfile.mkdtemp(prefix="lw-proxy-", dir="/tmp"))
        self._socket = self._folder / "proxy.sock"
        self._listener: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.lose_answers = 0
        self.lost = 0

    @property
    def url(self) -> str:
        """The proxy's URL for redis-py."""
        return f"unix://{self._socket}"

    async def __aenter__(self) -> Self:
        self._listener = await asyncio.start_unix_server(self._serve, self._socket)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._listener is not None
        self._listener.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        shutil.rmtree(self._folder, ignore_errors=True)

    async def _serve(self, client_in: asyncio.StreamReader, client_out: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        server_in, server_out = await asyncio.open_unix_connection(self._server.socket)
        upward = asyncio.ensure_future(self._pass_on(client_in, server_out))
        try:
            while data := await server_in.read(1 << 16):
                if self.lose_answers > 0:
                    self.lose_answers -= 1
                    self.lost += 1
                    break
                client_out.write(data)
                await client_out.drain()
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            upward.cancel()
            await asyncio.gather(upward, return_exceptions=True)
            for writer in (client_out, server_out):
                writer.close()
                with contextlib.suppress(OSError):
                    await writer.wait_closed()
            self._tasks.discard(task)

    @staticmethod
    async def _pass_on(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        while data := await source.read(1 << 16):
            target.write(data)
            await target.drain()
