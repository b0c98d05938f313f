"""Live streams: every event once and in order, resumed exactly, ended cleanly, and cheap while nothing happens."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from loopwright.api import channel as channel_module
from loopwright.api import streams as streams_module
from loopwright.memory.journal.contract import Lease
from loopwright.planner.events import RunStarted, RunSucceeded, StepDecided
from loopwright.testing import answer, call

from ..memory.support import eventually, in_loop
from ..servers import RedisServer, redis_server
from .agents_under_test import clerk
from .served import Served, served
from .sse import Frame

DONE = RunSucceeded('"done"')


async def held(api: Served) -> tuple[str, Lease]:
    """Submit a run and take its lease."""
    run_id = await api.submit()
    return run_id, (await api.store.journal.claim(run_id, "test", ttl_s=600)).lease


async def write(api: Served, lease: Lease, *events: Any) -> None:
    """Write events as a worker would."""
    api.store.journal.append(lease, *events)
    await api.store.journal.barrier(lease)


async def whole(api: Served, run_id: str) -> list[dict[str, Any]]:
    """Return a run's events as the JSON pages have them."""
    found = await api.http.get(f"/v1/runs/{run_id}/events", params={"limit": 1000})
    items: list[dict[str, Any]] = found.json()["items"]
    return items


def events_of(frames: list[Frame]) -> list[Any]:
    return [frame.data for frame in frames]


@in_loop
async def test_a_stream_tells_what_was_and_what_comes_and_ends_behind_the_last_event(
    one_server: RedisServer, tmp_path: Path
) -> None:
    async with served(one_server, tmp_path, [clerk]) as api:
        run_id = await api.submit()
        client = await api.events(run_id)
        assert (client.status, client.headers["content-type"]) == (200, "text/event-stream")
        assert client.headers["cache-control"] == "no-store" and client.headers["x-request-id"]
        first = await client.event()
        await api.drive(run_id, call("look", what="sky"), answer("blue"))
        frames = [first, *await client.rest()]
        stored = await whole(api, run_id)
        assert events_of(frames) == stored
        assert [(each.id, each.event) for each in frames] == [(each["id"], each["type"]) for each in stored]
        await eventually(lambda: _idle(api))
        assert (await api.http.get("/healthz")).status_code == 200


@in_loop
async def test_a_stream_resumes_exactly_behind_the_event_that_its_client_had(
    one_server: RedisServer, tmp_path: Path
) -> None:
    async with served(one_server, tmp_path, [clerk]) as api:
        run_id = await api.submit()
        await api.drive(run_id, call("look", what="sky"), call("look", what="sea"), answer("blue"))
        stored = await whole(api, run_id)
        for place, event in enumerate(stored):
            by_header = await api.events(run_id, last_event_id=event["id"])
            by_query = await api.events(run_id, f"?after={event['id']}")
            for client in (by_header, by_query):
                assert events_of(await client.rest()) == stored[place + 1 :]


@in_loop
async def test_a_client_that_leaves_after_every_event_sees_each_exactly_once(
    one_server: RedisServer, tmp_path: Path
) -> None:
    async with served(one_server, tmp_path, [clerk]) as api:
        run_id, lease = await held(api)

        async def work() -> None:
            await write(api, lease, RunStarted("head"))
            for number in range(1, 40):
                await write(api, lease, StepDecided(number, f"step {number}", answer=None))
                await asyncio.sleep(0.002)
            await write(api, lease, DONE)

        working = asyncio.create_task(work())
        seen: list[Frame] = []
        while not seen or seen[-1].event != "run.succeeded":
            resume = {"last_event_id": str(seen[-1].id)} if seen else {}
            client = await api.events(run_id, **resume)
            for _ in range(3):
                if (frame := await client.event()) is None:
                    break
                seen.append(frame)
            await client.close()
        await working
        assert events_of(seen) == await whole(api, run_id)


@in_loop
async def test_many_streams_of_many_runs_get_all_events_in_order(one_server: RedisServer, tmp_path: Path) -> None:
    async with served(one_server, tmp_path, [clerk]) as api:
        runs = [await held(api) for _ in range(10)]
        clients = [(run_id, await api.events(run_id)) for run_id, _ in runs for _ in range(10)]
        assert api.app.streams.count == 100

        async def work(lease: Lease) -> None:
            await write(api, lease, RunStarted("head"))
            for number in range(1, 20):
                await write(api, lease, StepDecided(number, "x" * 100))
            await write(api, lease, DONE)

        received, *_ = await asyncio.gather(
            asyncio.gather(*(client.rest() for _, client in clients)), *(work(lease) for _, lease in runs)
        )
        for (run_id, _), frames in zip(clients, received, strict=True):
            assert events_of(frames) == await whole(api, run_id)


@in_loop
async def test_a_slow_client_holds_up_nobody_takes_no_memory_and_still_gets_everything(
    one_server: RedisServer, tmp_path: Path
) -> None:
    async with served(one_server, tmp_path, [clerk]) as api:
        run_id, lease = await held(api)
        slow = await api.events(run_id, limit=1024)
        quick = await api.events(run_id)
        reading = asyncio.create_task(quick.rest())
        await write(api, lease, RunStarted("head"))
        for number in range(1, 400):
            await write(api, lease, StepDecided(number, "x" * 50_000))
            for stream in (api.app.streams._channels[run_id]).streams:
                assert stream._size <= channel_module.MAX_PENDING_BYTES + 60_000
        await write(api, lease, DONE)
        stored = await whole(api, run_id)
        assert len(await reading) == len(stored)
        assert [frame.id for frame in await slow.rest()] == [each["id"] for each in stored]


@in_loop
async def test_a_client_that_takes_nothing_at_all_is_cut_off(
    one_server: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(channel_module, "STALL_S", 0.5)
    monkeypatch.setattr(streams_module, "KEEP_ALIVE_S", 1)
    async with served(one_server, tmp_path, [clerk]) as api:
        run_id, lease = await held(api)
        stuck = await api.events(run_id, limit=1024)
        await write(api, lease, RunStarted("head"))
        for number in range(1, 200):
            await write(api, lease, StepDecided(number, "x" * 100_000))
        await eventually(lambda: _idle(api))
        await stuck.close()


@in_loop
async def test_an_idle_stream_is_kept_alive_by_comments(
    one_server: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams_module, "KEEP_ALIVE_S", 1)
    async with served(one_server, tmp_path, [clerk]) as api:
        run_id = await api.submit()
        client = await api.events(run_id)
        await client.event()
        for _ in range(2):
            frame = await client.next()
            assert frame is not None and frame.comment
        await client.close()


@in_loop
async def test_what_is_not_stored_comes_without_an_id_to_those_who_ask_for_it(
    one_server: RedisServer, tmp_path: Path
) -> None:
    async with served(one_server, tmp_path, [clerk]) as api:
        run_id, lease = await held(api)
        curious = await api.events(run_id, "?deltas=true")
        plain = await api.events(run_id)
        heard: list[Frame] = []

        async def listen() -> None:
            while (frame := await curious.event()) is not None:
                heard.append(frame)

        listening = asyncio.create_task(listen())

        async def delta_heard() -> bool:
            api.store.live._muted.clear()
            api.store.live.publish(run_id, "delta", {"step": 1, "text": "He"})
            await asyncio.sleep(0.05)
            return any(frame.event == "delta" for frame in heard)

        await eventually(delta_heard)
        await write(api, lease, DONE)
        await listening
        delta = next(frame for frame in heard if frame.event == "delta")
        assert delta.id is None and delta.data == {"step": 1, "text": "He"}
        stored = await whole(api, run_id)
        assert [frame.data for frame in heard if frame.id] == stored
        assert events_of(await plain.rest()) == stored


@in_loop
async def test_all_streams_of_a_process_share_one_reader(one_server: RedisServer, tmp_path: Path) -> None:
    async with served(one_server, tmp_path, [clerk]) as api:
        run_id, lease = await held(api)
        others = [await held(api) for _ in range(5)]
        before = connections(one_server)
        clients = [await api.events(each, "?deltas=1") for each, _ in [(run_id, lease), *others] for _ in range(10)]
        for client in clients:
            await client.event()
        assert connections(one_server) - before <= 2  # the followers' reader, and the ear for what is not stored
        for client in clients:
            await client.close()
        await eventually(lambda: _idle(api))
        assert api.app.streams._channels == {}


@in_loop
async def test_a_stream_needs_a_key_that_may_read_and_ends_when_it_is_revoked(
    one_server: RedisServer, tmp_path: Path
) -> None:
    """T36."""
    async with served(one_server, tmp_path, [clerk]) as api:
        run_id = await api.submit()
        record, token = await api.store.keys.create("local", ["read"])
        assert (await api.events(run_id)).status == 401
        client = await api.events(run_id, authorization=f"Bearer {token}")
        stays = await api.events(run_id, **await api.key("read"))
        await client.event()
        loop = asyncio.get_running_loop()
        start = loop.time()
        await api.store.keys.revoke(record.id)
        assert await client.event() is None
        assert loop.time() - start < 5
        await stays.event()
        assert api.app.streams.count == 1


@in_loop
async def test_the_end_of_the_server_ends_streams_cleanly_and_at_once(one_server: RedisServer, tmp_path: Path) -> None:
    async with served(one_server, tmp_path, [clerk]) as api:
        run_id = await api.submit()
        clients = [await api.events(run_id) for _ in range(20)]
        for client in clients:
            await client.event()
        start = asyncio.get_running_loop().time()
    assert asyncio.get_running_loop().time() - start < 3
    for client in clients:
        assert await client.event() is None


@in_loop
async def test_a_stream_outlives_a_restart_of_redis(tmp_path: Path) -> None:
    with redis_server("system", tmp_path / "redis") as server:
        async with served(server, tmp_path, [clerk]) as api:
            run_id, lease = await held(api)
            client = await api.events(run_id)
            await client.event()
            await client.event()
            server.stop()
            server.start()
            await write(api, lease, RunStarted("head"), DONE)
            assert [frame.event for frame in await client.rest()] == ["run.started", "run.succeeded"]


@pytest.mark.parametrize("last", ["99999999999999999-0", "1-0", "0-0"])
@in_loop
async def test_an_id_that_no_event_has_still_leads_to_the_end(
    one_server: RedisServer, tmp_path: Path, last: str
) -> None:
    async with served(one_server, tmp_path, [clerk]) as api:
        run_id, lease = await held(api)
        client = await api.events(run_id, last_event_id=last)
        await asyncio.sleep(0.05)
        await write(api, lease, RunStarted("head"))
        await asyncio.sleep(0.05)
        await write(api, lease, DONE)
        assert (await client.rest())[-1].event == "run.succeeded"


@in_loop
async def test_a_place_to_resume_from_that_is_none_is_refused_before_the_stream(
    one_server: RedisServer, tmp_path: Path
) -> None:
    async with served(one_server, tmp_path, [clerk]) as api:
        run_id = await api.submit()
        for path, headers in (("", {"last_event_id": "soon"}), ("?after=-1", {})):
            client = await api.events(run_id, path, **headers)
            assert (client.status, client.headers["content-type"]) == (422, "application/problem+json")
            await client.close()


@in_loop
async def test_thousands_of_clients_that_break_off_leave_nothing_behind(
    one_server: RedisServer, tmp_path: Path
) -> None:
    async with served(one_server, tmp_path, [clerk]) as api:
        runs = [await held(api) for _ in range(5)]

        async def rude(number: int) -> None:
            run_id, lease = runs[number % len(runs)]
            client = await api.events(run_id)
            if number % 3:
                await client.event()
            if number % 7 == 0:
                await write(api, lease, RunStarted("head"))
            client.writer.transport.abort()

        for first in range(0, 1000, 50):
            await asyncio.gather(*(rude(number) for number in range(first, first + 50)))
        await eventually(lambda: _idle(api))
        assert api.app.streams._channels == {}
        tasks = {task.get_name() for task in asyncio.all_tasks()}
        assert not tasks & {"stream", "channel"}


async def _idle(api: Served) -> bool:
    return api.app.streams.count == 0


def connections(server: RedisServer) -> int:
    """Return how many clients Redis has."""
    return len([line for line in server.command("CLIENT", "LIST").decode().split("\n") if line.startswith("id=")])
