"""Who is there: beats, silence, and leaving."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from loopwright.errors import JournalUnavailable
from loopwright.memory import presence
from loopwright.memory.client import make_client
from loopwright.memory.presence import WORKERS, Heard, Presence

from ..servers import RedisServer
from .support import eventually, in_loop

FACTS = {
    "host": "h", "pid": 7, "slots": 4, "busy": 1, "agents": {"clerk": "abc"}, "queues": ["runs"], "version": "1",
    "started_ms": 5,
}  # fmt: skip


@asynccontextmanager
async def opened(server: RedisServer) -> AsyncIterator[Any]:
    server.command("FLUSHALL")
    client = make_client(server.url)
    yield Presence(client)
    await client.aclose()


@in_loop
async def test_a_worker_that_beats_is_listed_with_what_it_says(one_server: RedisServer) -> None:
    async with opened(one_server) as here:
        await here.beat("w2", FACTS | {"busy": 3, "unknown": "to this version"})
        await here.beat("w1", FACTS)
        first, second = await here.list()
        assert (first.id, first.host, first.pid, first.slots, first.busy) == ("w1", "h", 7, 4, 1)
        assert (first.agents, first.queues, first.is_draining) == ({"clerk": "abc"}, ("runs",), False)
        assert (second.id, second.busy) == ("w2", 3)
        assert await here.total() == Heard(workers=2, slots=8, busy=4)


@in_loop
async def test_only_workers_that_take_runs_are_added_up(one_server: RedisServer) -> None:
    async with opened(one_server) as here:
        await here.beat("tools", FACTS | {"queues": ["heavy"]})
        await here.beat("leaves", FACTS | {"is_draining": True})
        assert len(await here.list()) == 2
        assert await here.total() == Heard()


@in_loop
async def test_who_falls_silent_is_gone_and_leaves_nothing_behind(
    one_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(presence, "SILENT_S", 0.05)
    async with opened(one_server) as here:
        await here.beat("w1", FACTS)

        async def is_silent() -> bool:
            return await here.list() == []

        await eventually(is_silent)
        await here.beat("w2", FACTS)
        assert one_server.command("ZCARD", WORKERS) == b":1\r\n"


@in_loop
async def test_who_leaves_is_gone_at_once(one_server: RedisServer) -> None:
    async with opened(one_server) as here:
        await here.beat("w1", FACTS)
        await here.leave("w1")
        assert await here.list() == []
        assert one_server.command("DBSIZE") == b":0\r\n"


@in_loop
async def test_without_redis_presence_says_so(free_port: int) -> None:
    client = make_client(f"redis://127.0.0.1:{free_port}/0")
    with pytest.raises(JournalUnavailable):
        await Presence(client).beat("w1", FACTS)
    await client.aclose()
