"""The bell: what Celery would publish, many rings in one round trip, lanes, and no error ever."""

import asyncio
import json
from base64 import b64decode
from typing import Any

import pytest
from kombu.entity import Exchange, Queue

from loopwright.errors import RunNotFound
from loopwright.memory.client import make_client
from loopwright.memory.journal.ids import new_run_id, shard_of_tenant
from loopwright.workers.celery_app import make_app
from loopwright.workers.doorbell import (
    ECHO_TTL_S,
    LANES,
    QUEUES,
    WAKE,
    Doorbell,
    backlog,
    echo_queue,
    queue_of,
    tool_queue,
)

from ..memory.support import in_loop
from ..servers import RedisServer


def messages(red: RedisServer, queue: str) -> list[dict[str, Any]]:
    """Return what waits in a queue, first come first."""
    raw = asyncio.run(_lrange(red.url, queue))
    return [json.loads(each) for each in reversed(raw)]


async def _lrange(url: str, queue: str) -> list[bytes]:
    client: Any = make_client(url)
    try:
        return await client.lrange(queue, 0, -1)
    finally:
        await client.aclose()


async def ring(red: RedisServer, *run_ids: str, priority: str = "normal") -> None:
    client = make_client(red.url)
    doorbell = Doorbell(client)
    for run_id in run_ids:
        await doorbell.ring(run_id, priority)
    await doorbell.aclose()
    await client.aclose()


def test_a_ring_is_what_celery_would_have_published(red: RedisServer) -> None:
    run_id = new_run_id("acme")
    queue = queue_of(run_id)
    app = make_app(red.url, [queue], wake=_nothing)
    app.tasks[WAKE].apply_async((run_id,), queue=Queue(queue, Exchange(""), routing_key=queue, no_declare=True))
    asyncio.run(ring(red, run_id))
    theirs, ours = messages(red, queue)
    for each in (theirs, ours):
        names = {each["headers"].pop("id"), each["headers"].pop("root_id"), each["properties"].pop("correlation_id")}
        assert len(names) == 1
        assert each["properties"].pop("delivery_tag")
        each["properties"].pop("reply_to")  # nobody answers
        each["headers"].pop("origin")
        each["body"] = json.loads(b64decode(each["body"]))
    assert ours == theirs
    app.close()


async def _nothing(_run_id: str) -> None:
    """Stand for a worker's look."""


def test_rings_of_one_tick_leave_in_one_command_per_queue(red: RedisServer) -> None:
    run_ids = [new_run_id("acme") for _ in range(200)]
    red.command("CONFIG", "RESETSTAT")
    asyncio.run(ring(red, *run_ids))
    stats = red.command("INFO", "commandstats").decode()
    assert "cmdstat_lpush:calls=1," in stats
    waiting = messages(red, queue_of(run_ids[0]))
    assert [json.loads(b64decode(each["body"]))[0][0] for each in waiting] == run_ids


def test_a_tenant_rings_in_one_lane_and_others_in_others() -> None:
    tenants = [f"tenant-{number}" for number in range(200)]
    lanes = {queue_of(new_run_id(tenant)) for tenant in tenants}
    assert lanes == {f"loopwright.normal.{lane}" for lane in range(LANES)}
    for tenant in tenants:
        assert queue_of(new_run_id(tenant), "high") == f"loopwright.high.{shard_of_tenant(tenant) % LANES}"
    assert len(QUEUES) == 3 * LANES


def test_what_is_no_run_id_is_not_rung_for(red: RedisServer) -> None:
    with pytest.raises(RunNotFound):
        queue_of("nonsense")
    asyncio.run(ring(red, "nonsense"))
    assert red.command("DBSIZE") == b":0\r\n"


@in_loop
async def test_a_bell_without_redis_raises_nothing_and_rings_again_afterwards(tmp_path: Any) -> None:
    from ..servers import find

    server = RedisServer(find("system"), tmp_path)
    server.start()
    client = make_client(server.url)
    try:
        doorbell = Doorbell(client)
        await doorbell.ring(new_run_id("acme"))
        await doorbell.aclose()
        server.kill()
        await doorbell.ring(new_run_id("acme"))
        await doorbell.aclose()
        server.start()
        before = await backlog(client)
        await doorbell.ring(new_run_id("acme"))
        await doorbell.aclose()
        assert await backlog(client) == before + 1
    finally:
        await client.aclose()
        server.close()


@in_loop
async def test_tools_and_echoes_have_queues_of_their_own(red: RedisServer) -> None:
    client: Any = make_client(red.url)
    doorbell = Doorbell(client)
    await doorbell.ring_tool("heavy", {"run": "r", "call": "1.1"})
    await doorbell.ring_echo("w1", "token")
    await doorbell.aclose()
    (message,) = await client.lrange(tool_queue("heavy"), 0, -1)
    assert json.loads(b64decode(json.loads(message)["body"]))[0] == [{"run": "r", "call": "1.1"}]
    assert 0 < await client.ttl(echo_queue("w1")) <= ECHO_TTL_S
    assert await client.ttl(tool_queue("heavy")) == -1
    assert await backlog(client) == 0
    await client.aclose()
