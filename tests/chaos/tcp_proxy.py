"""A TCP proxy that can go silent: connections stay open, new ones are taken, and nothing passes. No end is ever sent.

What a firewall that forgot its state, or a machine that lost its network, looks like from the other side.
"""

import asyncio
import contextlib
import threading
from types import TracebackType
from typing import Self


class StallingProxy:
    """Forwards to a port of this machine, from a thread with an event loop of its own.

    Args:
        port: Where connections lead.
    """

    def __init__(self, port: int) -> None:
        self._target = port
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._is_up = threading.Event()
        self._flows: asyncio.Event | None = None
        self._talks: set[asyncio.Task[None]] = set()
        self.port = 0

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._is_up.wait(10)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def stall(self) -> None:
        """Let nothing pass from now on."""
        assert self._flows is not None
        self._loop.call_soon_threadsafe(self._flows.clear)

    def flow(self) -> None:
        """Let everything pass again. Connections that stood through the silence go on, as after a mended link."""
        assert self._flows is not None
        self._loop.call_soon_threadsafe(self._flows.set)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._flows = asyncio.Event()
        self._flows.set()
        self._server = self._loop.run_until_complete(asyncio.start_server(self._serve, "127.0.0.1", 0))
        self.port = self._server.sockets[0].getsockname()[1]
        self._is_up.set()
        self._loop.run_forever()

    async def _stop(self) -> None:
        self._server.close()
        for talk in self._talks:
            talk.cancel()
        await asyncio.gather(*self._talks, return_exceptions=True)

    async def _serve(self, client_in: asyncio.StreamReader, client_out: asyncio.StreamWriter) -> None:
        talk = asyncio.current_task()
        assert talk is not None and self._flows is not None
        self._talks.add(talk)
        writers = [client_out]
        with contextlib.suppress(OSError, asyncio.CancelledError):
            await self._flows.wait()
            server_in, server_out = await asyncio.open_connection("127.0.0.1", self._target)
            writers.append(server_out)
            passing = {
                asyncio.ensure_future(self._pass_on(client_in, server_out)),
                asyncio.ensure_future(self._pass_on(server_in, client_out)),
            }
            try:
                await asyncio.wait(passing, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for each in passing:
                    each.cancel()
                await asyncio.gather(*passing, return_exceptions=True)
        for writer in writers:
            writer.close()
            with contextlib.suppress(OSError, asyncio.CancelledError):
                await writer.wait_closed()
        self._talks.discard(talk)

    async def _pass_on(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        assert self._flows is not None
        while data := await source.read(1 << 16):
            await self._flows.wait()
            target.write(data)
            await target.drain()
