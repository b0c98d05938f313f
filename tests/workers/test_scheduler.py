"""Firing schedules: one run for each moment, whoever fires it and whoever dies; what is refused is written down."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from loopwright import Agent
from loopwright.agents import Registry
from loopwright.api.models import RunRequest
from loopwright.api.service import Service
from loopwright.errors import JournalUnavailable
from loopwright.memory.schedules import Due, Fired, Schedules
from loopwright.memory.store import open_store
from loopwright.planner.events import RunCreated
from loopwright.settings import Settings
from loopwright.workers.scheduler import AT_ONCE, request_of, run_scheduler, tick

from ..memory.support import eventually, in_loop
from ..servers import RedisServer, redis_server

CLERK = Agent("clerk", "Answer.")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with redis_server("system", tmp_path_factory.mktemp("redis")) as running:
        yield running


@pytest.fixture
def redis(server: RedisServer) -> RedisServer:
    server.command("FLUSHALL")
    return server


class Bell:
    def __init__(self) -> None:
        self.rung: list[str] = []

    async def ring(self, run_id: str, priority: str = "normal") -> None:
        self.rung.append(run_id)


@asynccontextmanager
async def working(
    redis: RedisServer, tmp_path: Path, *agents: Agent[Any], hold_s: float = 30.0
) -> AsyncIterator[Service]:
    """Yield the parts of a worker of its own."""
    settings = Settings(redis_url=redis.url, data_dir=str(tmp_path))
    async with open_store(settings) as store:
        store.schedules = Schedules(store.client, hold_s=hold_s)
        yield Service(settings, Registry(agents or [CLERK]), store, Bell())


def minutes_ago(minutes: float) -> int:
    return int((time.time() - 60 * minutes) // 60 * 60_000)


async def make(service: Service, next_ms: int, name: str = "s1", cron: str = "* * * * *", **run: Any) -> None:
    request = RunRequest(**{"agent": "clerk", "task": "hello", **run}).model_dump(mode="json", exclude_defaults=True)
    await service.store.schedules.create(
        "acme", name, cron=cron, timezone="UTC", enabled=True, run=request, next_ms=next_ms
    )


async def runs(service: Service) -> list[RunCreated]:
    found = []
    for record in await service.store.journal.runs("acme"):
        (first, *_) = await service.store.journal.read(record.run_id, limit=1)
        assert isinstance(first.event, RunCreated)
        found.append(first.event)
    return found


@in_loop
async def test_a_moment_makes_a_run_and_the_next_moment_counts(redis: RedisServer, tmp_path: Path) -> None:
    async with working(redis, tmp_path) as worker:
        moment = minutes_ago(0)
        await make(worker, moment, thread_id="t1", metadata={"by": "clock"}, priority="low")
        assert await tick(worker) == 1
        assert await tick(worker) == 0
        (run,) = await runs(worker)
        assert (run.agent, run.task, run.thread_id, run.priority) == ("clerk", "hello", "t1", "low")
        assert (run.tenant, run.by, run.metadata) == ("acme", "schedule:s1", {"by": "clock"})
        assert worker.doorbell.rung == [run.run_id]  # type: ignore[attr-defined]
        now = await worker.store.schedules.get("acme", "s1")
        assert now.next_ms is not None and now.next_ms > moment
        assert (now.last_ms, now.last_run) == (moment, run.run_id)
        assert await worker.store.schedules.history("acme", "s1") == [Fired(moment, run_id=run.run_id)]


@in_loop
async def test_moments_that_were_missed_are_made_up_for_once(redis: RedisServer, tmp_path: Path) -> None:
    async with working(redis, tmp_path) as worker:
        moment = minutes_ago(180)
        await make(worker, moment)
        for _ in range(3):
            await tick(worker)
        (fired,) = await worker.store.schedules.history("acme", "s1")
        assert fired.at_ms == moment
        assert len(await runs(worker)) == 1
        now = await worker.store.schedules.get("acme", "s1")
        assert now.next_ms is not None and now.next_ms > time.time() * 1000 - 60_000


@in_loop
async def test_many_workers_that_fire_the_same_moment_make_one_run(redis: RedisServer, tmp_path: Path) -> None:
    """Nothing is hidden from the others here, so all of them submit."""
    async with working(redis, tmp_path, hold_s=0.0) as one, working(redis, tmp_path, hold_s=0.0) as two:
        for index in range(10):
            await make(one, minutes_ago(1), f"s{index}", cron="0 0 1 1 *")
        await asyncio.gather(*(tick(worker) for worker in (one, two) * 6))
        assert len(await runs(one)) == 10
        for index in range(10):
            assert len(await one.store.schedules.history("acme", f"s{index}")) == 1
        assert len({*one.doorbell.rung, *two.doorbell.rung}) == 10  # type: ignore[attr-defined]


@in_loop
async def test_a_worker_that_dies_behind_the_submission_leaves_one_run(redis: RedisServer, tmp_path: Path) -> None:
    class Dying(Schedules):
        async def fired(self, due: Due, what: Fired, next_ms: int | None) -> bool:
            raise JournalUnavailable("killed")

        async def postpone(self, due: Due, delay_s: float) -> None:
            raise JournalUnavailable("killed")

    async with working(redis, tmp_path, hold_s=0.05) as dying, working(redis, tmp_path) as other:
        dying.store.schedules = Dying(dying.store.client, hold_s=0.05)
        await make(dying, minutes_ago(1))
        assert await tick(dying) == 1
        assert len(await runs(dying)) == 1
        had = await other.store.schedules.get("acme", "s1")
        changed = {"agent": "clerk", "task": "another"}
        await other.store.schedules.change(
            "acme", had, cron=had.cron, timezone="UTC", enabled=True, run=changed, next_ms=had.next_ms
        )
        await eventually(lambda: tick(other))
        (run,) = await runs(other)
        (fired,) = await other.store.schedules.history("acme", "s1")
        assert (fired.run_id, fired.problem) == (run.run_id, None)


@in_loop
async def test_a_refused_firing_stands_in_the_history_and_the_next_moment_comes(
    redis: RedisServer, tmp_path: Path
) -> None:
    """The agent is unknown to every worker, and the thread is busy."""
    async with working(redis, tmp_path) as worker:
        await make(worker, minutes_ago(2), "unknown", agent="nobody")
        await make(worker, minutes_ago(2), "busy", thread_id="t1")
        await make(worker, minutes_ago(2), "busy-too", thread_id="t1")
        assert await tick(worker) == 3
        found = {
            name: (await worker.store.schedules.history("acme", name))[0] for name in ("unknown", "busy", "busy-too")
        }
        assert found["unknown"].run_id is None
        assert "there is no agent 'nobody'" in str(found["unknown"].problem)
        assert sorted(each.run_id is None for each in found.values()) == [False, True, True]
        assert sum("has a run that has not ended" in str(each.problem) for each in found.values()) == 1
        for name in found:
            now = await worker.store.schedules.get("acme", name)
            assert now.next_ms is not None and now.next_ms > minutes_ago(1)


@in_loop
async def test_a_worker_without_the_agent_leaves_the_firing_to_one_that_has_it(
    redis: RedisServer, tmp_path: Path
) -> None:
    async with working(redis, tmp_path, Agent("other", "Answer.")) as without, working(redis, tmp_path) as having:
        await make(without, int(time.time() * 1000))
        assert await tick(without) == 1
        assert await without.store.schedules.history("acme", "s1") == []
        await eventually(lambda: tick(having))
        (fired,) = await having.store.schedules.history("acme", "s1")
        assert fired.run_id is not None


@in_loop
async def test_a_store_that_takes_nothing_postpones_a_firing(
    redis: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with working(redis, tmp_path, hold_s=60.0) as worker:
        monkeypatch.setattr("loopwright.workers.scheduler.RETRY_S", 0.05)
        await make(worker, minutes_ago(1))
        with monkeypatch.context() as patch:
            patch.setattr("loopwright.workers.scheduler.submit", _unavailable)
            assert await tick(worker) == 1
        assert await worker.store.schedules.history("acme", "s1") == []
        await eventually(lambda: tick(worker))
        assert len(await runs(worker)) == 1


async def _unavailable(*_: Any, **__: Any) -> Any:
    raise JournalUnavailable("no answer")


@in_loop
async def test_the_scheduler_runs_until_it_is_told_to_stop(redis: RedisServer, tmp_path: Path) -> None:
    async with working(redis, tmp_path) as worker:
        stop = asyncio.Event()
        parts = (worker.store, worker.registry, worker.doorbell, worker.settings, stop)
        task = asyncio.create_task(run_scheduler(*parts))
        await make(worker, minutes_ago(1))
        await eventually(lambda: worker.store.schedules.history("acme", "s1"))
        stop.set()
        await asyncio.wait_for(task, 5)


@in_loop
async def test_a_tenant_with_many_schedules_does_not_hold_up_those_of_others(
    redis: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("loopwright.workers.scheduler.TICK_S", 3600.0)
    async with working(redis, tmp_path) as worker:
        for number in range(3 * AT_ONCE):
            await make(worker, minutes_ago(2), f"s{number}")
        await make(worker, minutes_ago(1), "last")
        stop = asyncio.Event()
        task = asyncio.create_task(run_scheduler(worker.store, worker.registry, worker.doorbell, worker.settings, stop))
        await eventually(lambda: worker.store.schedules.history("acme", "last"))
        stop.set()
        await asyncio.wait_for(task, 5)


@pytest.mark.parametrize("stored", [{}, {"agent": "clerk"}, {"agent": "clerk", "task": "x", "old": 1}, []])
def test_a_stored_request_that_is_none_any_more_is_named(stored: Any) -> None:
    from loopwright.errors import ScheduleInvalid

    with pytest.raises(ScheduleInvalid, match=r"^run"):
        request_of(stored)
