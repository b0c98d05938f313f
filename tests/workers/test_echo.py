"""Deaf workers are noticed: by the clock of silence, and by a real one behind a network that swallows messages."""

import asyncio
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from loopwright.memory.client import make_client
from loopwright.workers.doorbell import Doorbell, echo_queue
from loopwright.workers.echo import Echo

from ..memory.support import in_loop
from ..servers import RedisServer, find
from .support import desk, eventually, shop, task


class Ear:
    """An echo on a real Redis whose queue the test reads, or does not."""

    def __init__(self, url: str) -> None:
        self.client: Any = make_client(url)
        self.doorbell = Doorbell(self.client)
        self.is_full = False
        self.echo = Echo("w1", is_full=lambda: self.is_full, every_s=10, patience_s=30)

    async def pass_time(self, seconds: int) -> bool:
        """Let seconds pass, one look each; return whether the worker counts as deaf."""
        is_deaf = False
        for _ in range(seconds):
            is_deaf = await self.echo.look(self.client, self.doorbell, 1.0) or is_deaf
        await self.doorbell.aclose()
        return is_deaf

    async def waiting(self) -> int:
        """Return how many echoes nobody has taken."""
        return int(await self.client.llen(echo_queue("w1")))

    async def take(self) -> None:
        """Hear what waits."""
        import json
        from base64 import b64decode

        for raw in await self.client.lrange(echo_queue("w1"), 0, -1):
            self.echo.heard(json.loads(b64decode(json.loads(raw)["body"]))[0][0])
        await self.client.delete(echo_queue("w1"))


@in_loop
async def test_a_worker_that_hears_itself_every_time_is_not_deaf(red: RedisServer) -> None:
    ear = Ear(red.url)
    for _ in range(20):
        assert not await ear.pass_time(11)
        assert await ear.waiting() >= 1
        await ear.take()
    await ear.client.aclose()


@in_loop
async def test_a_worker_that_hears_nothing_for_half_a_minute_is_deaf_and_has_tried_again(red: RedisServer) -> None:
    ear = Ear(red.url)
    assert not await ear.pass_time(30)
    assert await ear.waiting() == 3
    assert await ear.pass_time(1)
    await ear.client.aclose()


@in_loop
async def test_a_worker_that_has_enough_to_do_is_not_deaf(red: RedisServer) -> None:
    ear = Ear(red.url)
    ear.is_full = True
    assert not await ear.pass_time(200)
    ear.is_full = False
    assert await ear.pass_time(30)
    await ear.client.aclose()


@in_loop
async def test_silence_while_redis_is_away_does_not_count(tmp_path: Path) -> None:
    server = RedisServer(find("system"), tmp_path)
    server.start()
    ear = Ear(server.url)
    try:
        await ear.pass_time(1)
        server.kill()
        assert not await ear.pass_time(40)
        server.start()
        assert await ear.pass_time(30)
    finally:
        await ear.client.aclose()
        server.close()


class Swallower:
    """A proxy before a Redis that lets every byte through, but for answers to those who wait for messages."""

    def __init__(self, server: RedisServer, folder: Path) -> None:
        self._server = server
        self.socket = folder / "p.sock"
        self.swallows = False
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._thread = threading.Thread(target=self._run, daemon=True)

    @property
    def url(self) -> str:
        """The proxy's URL."""
        return f"unix://{self.socket}"

    def __enter__(self) -> "Swallower":
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._listener = self._loop.run_until_complete(asyncio.start_unix_server(self._serve, self.socket))
        self._ready.set()
        self._loop.run_forever()

    async def _stop(self) -> None:
        self._listener.close()
        for each in self._tasks:
            each.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, client_in: asyncio.StreamReader, client_out: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        server_in, server_out = await asyncio.open_unix_connection(self._server.socket)
        waits = [False]
        up = asyncio.ensure_future(self._pass_on(client_in, server_out, waits))
        down = asyncio.ensure_future(self._pass_on(server_in, client_out, waits, is_answer=True))
        try:
            await asyncio.wait([up, down], return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in (up, down):
                each.cancel()
            await asyncio.gather(up, down, return_exceptions=True)
            for writer in (client_out, server_out):
                writer.close()
            self._tasks.discard(task)

    async def _pass_on(
        self, source: asyncio.StreamReader, target: asyncio.StreamWriter, waits: list[bool], *, is_answer: bool = False
    ) -> None:
        while data := await source.read(1 << 16):
            waits[0] = waits[0] or b"BRPOP" in data
            if not (is_answer and self.swallows and waits[0]):
                target.write(data)
                await target.drain()


@pytest.fixture
def swallower(red: RedisServer, tmp_path: Path) -> Iterator[Swallower]:
    import shutil
    import tempfile

    folder = Path(tempfile.mkdtemp(prefix="lw-ear-", dir="/tmp"))
    with Swallower(red, folder) as proxy:
        yield proxy
    shutil.rmtree(folder)


def test_a_deaf_worker_hands_its_runs_over_and_starts_anew(
    red: RedisServer, swallower: Swallower, tmp_path: Path
) -> None:
    """Celery reconnects again and again, and every connection swallows its messages: only the echo can tell."""

    async def go() -> None:
        async with desk(red.url) as at:
            run_id = await at.submit(task("stall"))
            eventually(lambda: any(each.body.get("stream") for each in open_shop.model.chats))
            pid = worker.pid
            swallower.swallows = True
            eventually(lambda: any("worker_deaf" in line for line in worker.lines))
            swallower.swallows = False
            worker.ready(times=2)
            assert worker.pid == pid
            events = await at.until(run_id, lambda found: [each.type for each in found].count("run.claimed") == 2)
            assert [each.reason for each in events if each.type == "run.released"] == ["drain"]
            second = await at.submit(task())
            assert (await at.end(second)).status == "succeeded"
            worker.send(signal.SIGQUIT)
            assert worker.wait(5) == 0

    quick = "from loopwright.workers import echo; echo.EVERY_S, echo.PATIENCE_S = 1.0, 4.0"
    with shop(red.url, tmp_path) as open_shop:
        worker = open_shop.start(url=swallower.url, grace_s=1, lease_s=15, before=quick).ready()
        asyncio.run(go())
