"""Transient events: heard by who listens, joined per tick, and free where nobody does."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
from redis.asyncio import Redis

from loopwright.errors import RunNotFound
from loopwright.memory.client import make_client
from loopwright.memory.journal.ids import new_run_id
from loopwright.memory.live import MAX_PIECES, LiveFeed

from ..servers import RedisServer
from .support import calls, eventually, in_loop


@contextlib.asynccontextmanager
async def feeds(server: RedisServer, count: int = 2) -> AsyncIterator[list[LiveFeed]]:
    clients: list[Redis] = [make_client(server.url) for _ in range(count)]
    opened = [LiveFeed(client) for client in clients]
    try:
        yield opened
    finally:
        for feed, client in zip(opened, clients, strict=True):
            await feed.aclose()
            await client.aclose()


class Heard:
    """Everything that a listener heard."""

    def __init__(self, feed: LiveFeed, run_id: str) -> None:
        self.events: list[tuple[str, bytes]] = []
        self.leave = feed.subscribe(run_id, lambda kind, data: self.events.append((kind, data)))

    @property
    def text(self) -> str:
        return b"".join(data for _, data in self.events).decode()


async def connected(heard: Heard, feed: LiveFeed, run_id: str) -> None:
    """Wait until what is published is heard."""

    async def arrives() -> bool:
        feed._muted.clear()
        feed.publish(run_id, "progress", {"ready": True})
        await asyncio.sleep(0.03)
        return bool(heard.events)

    await eventually(arrives)
    await asyncio.sleep(0.1)
    heard.events.clear()


@in_loop
async def test_a_listener_in_another_process_hears_what_is_published(one_server: RedisServer) -> None:
    run_id = new_run_id("acme")
    async with feeds(one_server) as (worker, api):
        heard = Heard(api, run_id)
        await connected(heard, worker, run_id)
        worker.publish(run_id, "progress", {"tool": "search", "done": 3})
        await eventually(lambda: _has(heard, 1))
        assert heard.events == [("progress", b'{"tool":"search","done":3}')]


@in_loop
async def test_text_of_one_tick_travels_as_one_message_and_other_messages_keep_their_place(
    one_server: RedisServer,
) -> None:
    run_id = new_run_id("acme")
    async with feeds(one_server) as (worker, api):
        heard = Heard(api, run_id)
        await connected(heard, worker, run_id)
        for piece in ("He", "llo", " you"):
            worker.publish(run_id, "delta", {"step": 1, "text": piece})
        worker.publish(run_id, "progress", {"half": True})
        worker.publish(run_id, "delta", {"step": 2, "text": "next"})
        await eventually(lambda: _has(heard, 3))
        assert heard.events == [
            ("delta", b'{"step":1,"text":"Hello you"}'),
            ("progress", b'{"half":true}'),
            ("delta", b'{"step":2,"text":"next"}'),
        ]


@in_loop
async def test_all_runs_of_a_tick_leave_together_and_a_run_that_nobody_hears_is_left_out_for_a_while(
    one_server: RedisServer,
) -> None:
    runs = [new_run_id("acme") for _ in range(20)]
    async with feeds(one_server, 1) as (worker,):
        before = calls(one_server, "publish")
        for _ in range(5):
            for run_id in runs:
                worker.publish(run_id, "delta", {"text": "x"})
            await asyncio.sleep(0.1)
        assert calls(one_server, "publish") - before == len(runs)


@in_loop
async def test_a_listener_that_left_hears_nothing_and_others_go_on(one_server: RedisServer) -> None:
    run_id = new_run_id("acme")
    async with feeds(one_server) as (worker, api):
        gone, stays = Heard(api, run_id), Heard(api, run_id)
        await connected(stays, worker, run_id)
        gone.leave()
        gone.events.clear()
        worker.publish(run_id, "progress", {"n": 1})
        await eventually(lambda: _has(stays, 1))
        assert gone.events == []


@in_loop
async def test_listening_goes_on_by_itself_after_the_connection_broke(one_server: RedisServer) -> None:
    run_id = new_run_id("acme")
    async with feeds(one_server) as (worker, api):
        heard = Heard(api, run_id)
        await connected(heard, worker, run_id)
        one_server.command("CLIENT", "KILL", "TYPE", "pubsub")
        await connected(heard, worker, run_id)


@in_loop
async def test_what_waits_for_a_tick_is_bounded(one_server: RedisServer) -> None:
    run_id = new_run_id("acme")
    async with feeds(one_server) as (worker, api):
        heard = Heard(api, run_id)
        await connected(heard, worker, run_id)
        for number in range(MAX_PIECES * 2):
            worker.publish(run_id, "progress", {"n": number})
        await eventually(lambda: _has(heard, MAX_PIECES))
        await asyncio.sleep(0.1)
        assert len(heard.events) == MAX_PIECES


@in_loop
async def test_a_run_can_be_listened_to_as_an_iterator(one_server: RedisServer) -> None:
    run_id = new_run_id("acme")
    async with feeds(one_server) as (worker, api):
        found: list[tuple[str, dict[str, Any]]] = []

        async def listen() -> None:
            async for event in api.listen(run_id):
                found.append(event)
                return

        task = asyncio.create_task(listen())

        async def published() -> bool:
            worker._muted.clear()
            worker.publish(run_id, "delta", {"text": "x"})
            await asyncio.sleep(0.03)
            return task.done()

        await eventually(published)
        assert found == [("delta", {"text": "x"})]


def test_only_run_ids_name_a_channel(one_server: RedisServer) -> None:
    async def subscribe() -> None:
        async with feeds(one_server, 1) as (feed,):
            with pytest.raises(RunNotFound):
                feed.subscribe("*", lambda kind, data: None)

    asyncio.run(subscribe())


async def _has(heard: Heard, count: int) -> bool:
    return len(heard.events) >= count
