"""Figures: counted here, added up there, bounded everywhere."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from redis.asyncio import Redis

from loopwright.errors import JournalUnavailable
from loopwright.memory.backlog import Backlog, read_backlog
from loopwright.memory.client import make_client
from loopwright.memory.metrics import BUCKETS_S, MAX_LABEL, Metrics, figures_of

from ..servers import RedisServer
from .support import RedisBackend, calls, created, eventually, in_loop


@pytest.fixture
def empty(one_server: RedisServer) -> RedisServer:
    one_server.command("FLUSHALL")
    return one_server


@asynccontextmanager
async def opened(server: RedisServer, **options: int) -> AsyncIterator[Metrics]:
    client = make_client(server.url)
    try:
        yield Metrics(client, **options)
    finally:
        await client.aclose()


@in_loop
async def test_figures_of_all_processes_add_up(empty: RedisServer) -> None:
    async with opened(empty) as one, opened(empty) as two:
        for metrics in (one, two):
            metrics.count("steps", agent="clerk")
            metrics.count("steps", 2, agent="clerk")
            metrics.count("steps", agent="other")
            metrics.count("tokens", 10, kind="prompt", agent="clerk")
            await metrics.flush()
        figures = await one.read()
    assert figures.counts["steps"] == {(("agent", "clerk"),): 6, (("agent", "other"),): 2}
    assert figures.counts["tokens"] == {(("agent", "clerk"), ("kind", "prompt")): 20}


@in_loop
async def test_times_fall_into_the_bucket_whose_bound_they_do_not_exceed(empty: RedisServer) -> None:
    async with opened(empty) as metrics:
        for seconds in (0.0, 0.001, 0.0011, 1.0, 7200.0):
            metrics.observe("run", seconds, agent="clerk")
        await metrics.flush()
        times = (await metrics.read()).times["run"][("agent", "clerk"),]
    assert times.buckets[0] == 2 and times.buckets[1] == 1
    assert times.buckets[BUCKETS_S.index(1.0)] == 1 and times.buckets[-1] == 1
    assert sum(times.buckets) == 5
    assert times.sum_s == pytest.approx(7201.0021)


@in_loop
async def test_counting_asks_nobody_and_a_flush_is_one_round_trip(empty: RedisServer) -> None:
    async with opened(empty) as metrics:
        for _ in range(1000):
            metrics.count("steps", agent="clerk")
            metrics.observe("model", 0.2, agent="clerk")
        before, sent = calls(empty, "exec"), calls(empty, "hincrbyfloat")
        await metrics.flush()
        assert calls(empty, "exec") == before + 1
        assert calls(empty, "hincrbyfloat") == sent + 3
        await metrics.flush()
        assert calls(empty, "exec") == before + 1


@in_loop
async def test_labels_without_end_are_counted_together(empty: RedisServer) -> None:
    async with opened(empty, max_series=3) as metrics:
        for number in range(100):
            metrics.count("steps", agent=f"agent-{number}")
        metrics.count("steps", agent="agent-0")
        await metrics.flush()
        counts = (await metrics.read()).counts["steps"]
    assert counts == {
        (("agent", "agent-0"),): 2, (("agent", "agent-1"),): 1, (("agent", "agent-2"),): 1, (("agent", "other"),): 97,
    }  # fmt: skip


@in_loop
async def test_a_long_label_is_cut(empty: RedisServer) -> None:
    async with opened(empty) as metrics:
        metrics.count("steps", agent="x" * 10_000)
        await metrics.flush()
        assert list((await metrics.read()).counts["steps"]) == [(("agent", "x" * MAX_LABEL),)]


@in_loop
async def test_what_could_not_be_sent_leaves_with_the_next_flush(empty: RedisServer, free_port: int) -> None:
    away = Metrics(make_client(f"redis://127.0.0.1:{free_port}", timeout_s=0.5))
    away.count("steps", agent="clerk")
    with pytest.raises(JournalUnavailable):
        await away.flush()
    away.count("steps", agent="clerk")
    away._client = make_client(empty.url)
    await away.flush()
    assert (await away.read()).counts["steps"] == {(("agent", "clerk"),): 2}
    await away._client.aclose()


@in_loop
async def test_the_flush_loop_survives_an_outage_and_sends_the_rest_when_it_is_cancelled(
    empty: RedisServer, free_port: int
) -> None:
    async with opened(empty) as metrics:
        good, metrics._client = metrics._client, make_client(f"redis://127.0.0.1:{free_port}", timeout_s=0.2)
        loop = asyncio.create_task(metrics.run(every_s=0.01))
        metrics.count("steps")
        await asyncio.sleep(0.1)
        assert not loop.done()
        await metrics._client.aclose()
        metrics._client = good

        async def sent() -> bool:
            return bool((await metrics.read()).counts["steps"])

        await eventually(sent)
        metrics.count("last")
        loop.cancel()
        with pytest.raises(asyncio.CancelledError):
            await loop
        assert (await metrics.read()).counts["last"] == {(): 1}


def test_fields_of_another_version_are_left_out_or_fall_into_the_nearest_bucket() -> None:
    figures = figures_of(
        {
            b"junk": b"1",
            b'["steps",{}]': b"3",
            b'["steps",[]]': b"1",
            b'["run",{},"0.7"]': b"2",
            b'["run",{},"what"]': b"2",
            b"[]": b"1",
        }
    )
    assert figures.counts == {"steps": {(): 3.0}}
    assert figures.times["run"][()].buckets[BUCKETS_S.index(1.0)] == 2


@in_loop
async def test_the_backlog_is_the_length_of_queues_and_the_age_of_what_is_due(empty: RedisServer) -> None:
    backend = RedisBackend("system", empty)
    journal = backend.open()
    client: Redis = make_client(empty.url)
    assert await read_backlog(client, ["one"]) == Backlog({"one": 0})
    for tenant in ("acme", "beta", "gamma"):
        await journal.create(created(tenant))
    backend.sweep_again()
    await journal.create(created("later"), due_in_s=60)
    empty.command("LPUSH", "one", "a", "b")
    found = await read_backlog(client, ["one", "two"])
    assert (found.queued, found.due) == ({"one": 2, "two": 0}, 3)
    assert found.oldest_s > 1_000_000
    await client.aclose()
    await journal.aclose()
