"""A run that kills its workers convicts itself, and nobody else."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from loopwright.planner import events as ev
from loopwright.settings import Settings
from loopwright.workers.quarantine import Quarantine

from ..servers import RedisServer
from .support import SOURCE, Shop, desk, eventually, shop, task, types


async def keep_workers(open_shop: Shop, done: asyncio.Event, most: int) -> None:
    """Start a worker whenever there is none, as a supervisor does."""
    started = 0
    while not done.is_set():
        if not any(worker.is_alive for worker in open_shop.workers):
            assert started < most, "workers keep dying"
            open_shop.start(lease_s=1.5)
            started += 1
        await asyncio.sleep(0.05)


@pytest.mark.parametrize("how", ["exit", "signal"])
def test_a_killer_is_convicted_after_three_attempts_and_every_other_run_succeeds(
    red: RedisServer, tmp_path: Path, how: str
) -> None:
    async def go() -> None:
        done = asyncio.Event()
        async with desk(red.url) as at:
            good = [await at.submit(task(["lookup", {"key": "a"}], "gate")) for _ in range(60)]
            killer = await at.submit(task(["kill", {"how": how}]))
            good += [await at.submit(task(["lookup", {"key": "a"}])) for _ in range(60)]
            keeping = asyncio.create_task(keep_workers(open_shop, done, 4))
            state = await at.end(killer)
            open_shop.model.gate.set()
            ends = await asyncio.gather(*(at.end(run_id) for run_id in good))
            done.set()
            await keeping
            assert (state.status, state.reason) == ("failed", "poison")
            assert "3 workers" in state.detail
            assert len(open_shop.noted("kill by")) <= 3
            assert {each.status for each in ends} == {"succeeded"}
            claims = [each for each in await at.events(killer) if isinstance(each, ev.RunClaimed)]
            assert claims[-2].worker.endswith("/alone")
            assert len(open_shop.workers) <= 3

    with shop(red.url, tmp_path) as open_shop:
        asyncio.run(go())


def test_a_suspect_that_is_innocent_makes_a_step_alone_and_goes_on_among_the_others(
    red: RedisServer, tmp_path: Path
) -> None:
    """Its workers died twice for reasons of their own: it is cleared by one finished call."""

    async def go() -> None:
        async with desk(red.url) as at:
            run_id = await at.submit(task(["wait_for", {"name": "x"}], ["lookup", {"key": "b"}]))
            await die_twice(open_shop)
            (tmp_path / "x").touch()
            open_shop.start(lease_s=1).ready()
            state = await at.end(run_id)
            assert (state.status, state.losses) == ("succeeded", 0)
            events = await at.events(run_id)
            reasons = [each.reason for each in events if isinstance(each, ev.RunReleased)]
            assert reasons == ["suspect", "stepped"]
            workers = [each.worker for each in events if isinstance(each, ev.RunClaimed)]
            assert [name.endswith("/alone") for name in workers] == [False, False, False, True, False]

    with shop(red.url, tmp_path) as open_shop:
        asyncio.run(go())


def test_a_run_that_only_waits_for_the_model_when_workers_die_is_not_suspected(
    red: RedisServer, tmp_path: Path
) -> None:
    async def go() -> None:
        async with desk(red.url) as at:
            run_id = await at.submit(task("gate"))
            for attempt in (1, 2):
                worker = open_shop.start(lease_s=1).ready()
                await at.until(run_id, lambda events, n=attempt: types(events).count("run.claimed") == n)
                worker.send(signal.SIGKILL)
                worker.wait()
            open_shop.model.gate.set()
            open_shop.start(lease_s=1).ready()
            state = await at.end(run_id)
            assert (state.status, state.attempts) == ("succeeded", 3)
            assert "run.released" not in types(await at.events(run_id))

    with shop(red.url, tmp_path) as open_shop:
        asyncio.run(go())


def test_a_suspect_that_is_drained_is_still_a_suspect(red: RedisServer, tmp_path: Path) -> None:
    async def go() -> None:
        async with desk(red.url) as at:
            run_id = await at.submit(task(["wait_for", {"name": "x"}]))
            await die_twice(open_shop)
            third = open_shop.start(lease_s=1, grace_s=1).ready()
            eventually(lambda: len(open_shop.noted("waits")) >= 3)
            third.send(signal.SIGTERM)
            assert third.wait(5) == 0
            (tmp_path / "x").touch()
            open_shop.start(lease_s=1).ready()
            assert (await at.end(run_id)).status == "succeeded"
            events = await at.events(run_id)
            reasons = [each.reason for each in events if isinstance(each, ev.RunReleased)]
            assert reasons == ["suspect", "drain", "suspect", "stepped"]

    with shop(red.url, tmp_path) as open_shop:
        asyncio.run(go())


def test_the_process_of_suspects_dies_with_its_worker(red: RedisServer, tmp_path: Path) -> None:
    async def go() -> None:
        async with desk(red.url) as at:
            run_id = await at.submit(task(["wait_for", {"name": "x"}]))
            await die_twice(open_shop)
            third = open_shop.start(lease_s=1).ready()
            eventually(lambda: len(open_shop.noted("waits")) >= 3)
            (child,) = children_of(third.pid)
            third.send(signal.SIGKILL)
            third.wait()
            eventually(lambda: not Path(f"/proc/{child}/cmdline").exists() or is_zombie(child), 5)
            assert types(await at.events(run_id)).count("run.failed") == 0

    with shop(red.url, tmp_path) as open_shop:
        asyncio.run(go())


def test_a_run_that_its_worker_lets_go_of_is_handed_over_before_the_process_takes_another(
    red: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise two suspects would share a process, and one would be blamed for the other."""

    async def go(open_shop: Shop) -> None:
        async with desk(red.url) as at, quarantine(open_shop) as alone:
            first = await at.submit(task(["wait_for", {"name": "x"}]), ring=False)
            driving = asyncio.create_task(alone.drive(first))
            await at.until(first, lambda events: "call.intended" in types(events))
            driving.cancel()
            await asyncio.gather(driving, return_exceptions=True)
            assert types(await at.events(first))[-1] == "run.released"
            assert children_of(os.getpid()) == []
            second = await at.submit(task(["lookup", {"key": "a"}]), ring=False)
            await alone.drive(second)
            assert "call.finished" in types(await at.events(second))

    with shop(red.url, tmp_path) as open_shop:
        monkeypatch.setenv("LOOPWRIGHT_TEST_LOG", str(open_shop.log))
        asyncio.run(go(open_shop))


def test_an_idle_process_that_dies_is_replaced(red: RedisServer, tmp_path: Path) -> None:
    async def go(open_shop: Shop) -> None:
        async with desk(red.url) as at, quarantine(open_shop) as alone:
            for kill_it in (True, False):
                run_id = await at.submit(task(["lookup", {"key": "a"}]), ring=False)
                await alone.drive(run_id)
                assert "call.finished" in types(await at.events(run_id))
                (child,) = children_of(os.getpid())
                if kill_it:
                    os.kill(child, signal.SIGKILL)
                    while Path(f"/proc/{child}").exists():  # asyncio buries it
                        await asyncio.sleep(0.01)

    with shop(red.url, tmp_path) as open_shop:
        asyncio.run(go(open_shop))


@asynccontextmanager
async def quarantine(open_shop: Shop) -> AsyncIterator[Quarantine]:
    """Yield the worker's side, with the shop's model."""
    settings = Settings(redis_url=open_shop.url, model_url=open_shop.model.url, lease_s=2.0)
    opened = Quarantine(settings, [str(SOURCE)], "worker")
    try:
        yield opened
    finally:
        await opened.aclose()


async def die_twice(open_shop: Shop) -> None:
    """Kill two workers, one after the other, while they make the run's call."""
    for attempt in (1, 2):
        worker = open_shop.start(lease_s=1).ready()
        eventually(lambda attempt=attempt: len(open_shop.noted("waits")) >= attempt)
        worker.send(signal.SIGKILL)
        worker.wait()


def children_of(pid: int) -> list[int]:
    """Return the quarantine processes of a worker."""
    found = []
    for each in os.listdir("/proc"):
        if each.isdigit():
            try:
                parent = int(Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split()[1])
                command = Path(f"/proc/{each}/cmdline").read_bytes()
            except OSError:
                continue
            if parent == pid and b"quarantine" in command:
                found.append(int(each))
    return found


def is_zombie(pid: int) -> bool:
    """Return whether a process has ended and only waits to be buried."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True
