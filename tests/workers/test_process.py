"""Real worker processes: runs from the ring to the end, drains, deaths, and what a worker does not load."""

import asyncio
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from ..servers import RedisServer, redis_server
from .support import desk, eventually, shop, task, types


def test_a_rung_run_is_driven_to_its_end(red: RedisServer, tmp_path: Path) -> None:
    async def go() -> None:
        async with desk(red.url) as at:
            run_id = await at.submit(task(["lookup", {"key": "a"}]))
            state = await at.end(run_id)
            assert (state.status, state.output) == ("succeeded", '"done"')
            assert types(await at.events(run_id)) == [
                "run.created", "run.claimed", "run.started", "step.decided", "call.finished", "step.decided",
                "run.succeeded",
            ]  # fmt: skip
            (worker,) = await at.store.presence.list()
            assert (worker.pid, worker.queues, worker.slots) == (process.pid, ("runs",), 7)
            assert list(worker.agents) == ["clerk"]

    with shop(red.url, tmp_path) as open_shop:
        process = open_shop.start(slots=7).ready()
        asyncio.run(go())
        process.send(signal.SIGTERM)
        assert process.wait(12) == 0


def test_runs_whose_rings_were_lost_are_found_by_the_sweeper(red: RedisServer, tmp_path: Path) -> None:
    async def go() -> None:
        async with desk(red.url) as at:
            run_ids = [await at.submit(task(), ring=False) for _ in range(20)]
            for run_id in run_ids:
                assert (await at.end(run_id)).status == "succeeded"

    with shop(red.url, tmp_path) as open_shop:
        open_shop.start().ready()
        asyncio.run(go())


def test_a_run_whose_worker_is_killed_goes_on_where_it_was(red: RedisServer, tmp_path: Path) -> None:
    async def go() -> None:
        async with desk(red.url) as at:
            run_id = await at.submit(task(["lookup", {"key": "a"}], "gate"))
            await at.until(run_id, lambda events: "call.finished" in types(events))
            eventually(lambda: len(open_shop.model.chats) >= 3)
            first.send(signal.SIGKILL)
            first.wait()
            open_shop.model.gate.set()
            open_shop.start().ready()
            state = await at.end(run_id)
            assert (state.status, state.step, state.attempts) == ("succeeded", 3, 2)

    with shop(red.url, tmp_path) as open_shop:
        first = open_shop.start().ready()
        asyncio.run(go())


def test_a_draining_worker_hands_its_runs_over_and_the_next_owner_goes_on_at_once(
    red: RedisServer, tmp_path: Path
) -> None:
    async def go() -> None:
        async with desk(red.url) as at:
            run_ids = [await at.submit(task("stall")) for _ in range(5)]
            eventually(lambda: len([each for each in open_shop.model.chats if each.body.get("stream")]) >= 5)
            second = open_shop.start(grace_s=2, lease_s=15).ready()
            started = time.monotonic()
            first.send(signal.SIGTERM)
            assert first.wait(12) == 0
            assert time.monotonic() - started <= 2 + 2
            for run_id in run_ids:
                events = await at.until(run_id, lambda found: types(found).count("run.claimed") == 2)
                handed, taken = (await at.store.journal.read(run_id))[-2:]
                assert types(events)[-2:] == ["run.released", "run.claimed"]
                assert handed.event.reason == "drain" and taken.at_ms - handed.at_ms <= 2000
            second.send(signal.SIGQUIT)
            assert second.wait(4) == 0

    with shop(red.url, tmp_path) as open_shop:
        first = open_shop.start(grace_s=2, lease_s=15).ready()
        asyncio.run(go())


def test_a_drain_waits_for_a_call_with_effects_and_hands_over_behind_its_step(red: RedisServer, tmp_path: Path) -> None:
    async def go() -> None:
        async with desk(red.url) as at:
            run_id = await at.submit(task(["pay", {"amount": 700}], ["lookup", {"key": "b"}]))
            eventually(lambda: open_shop.noted("pay begins") != [])
            first.send(signal.SIGTERM)
            assert first.wait(12) == 0
            assert open_shop.noted() == ["pay begins 700", "pay ends 700"]
            assert types(await at.events(run_id))[-2:] == ["call.finished", "run.released"]
            open_shop.start().ready()
            state = await at.end(run_id)
            assert (state.status, state.attempts) == ("succeeded", 2)
            assert open_shop.noted() == ["pay begins 700", "pay ends 700"]

    with shop(red.url, tmp_path) as open_shop:
        first = open_shop.start().ready()
        asyncio.run(go())


def test_a_second_signal_cuts_the_grace_period_short(red: RedisServer, tmp_path: Path) -> None:
    async def go() -> None:
        async with desk(red.url) as at:
            run_id = await at.submit(task("stall"))
            eventually(lambda: any(each.body.get("stream") for each in open_shop.model.chats))
            first.send(signal.SIGTERM)
            await at.until(run_id, lambda _: True)
            time.sleep(0.3)
            assert first.is_alive
            first.send(signal.SIGTERM)
            assert first.wait(5) == 0
            assert types(await at.events(run_id))[-1] == "run.released"

    with shop(red.url, tmp_path) as open_shop:
        first = open_shop.start(grace_s=60).ready()
        asyncio.run(go())


def test_queued_tools_run_in_the_children_of_a_prefork_worker(red: RedisServer, tmp_path: Path) -> None:
    async def go() -> None:
        async with desk(red.url) as at:
            state = await at.end(await at.submit(task(["crunch", {"number": 12}])))
            assert state.status == "succeeded"
            assert state.observed[0].calls[0].text == "144"
            (line,) = open_shop.noted("crunch 12")
            assert str(tools.pid) not in line
            heard = {worker.queues: worker.slots for worker in await at.store.presence.list()}
            assert heard == {("runs",): 256, ("heavy",): 2}
            assert (await at.store.presence.total()).workers == 1

    with shop(red.url, tmp_path) as open_shop:
        tools = open_shop.start(queue="heavy", pool="prefork", slots=2)
        open_shop.start().ready()
        tools.ready()
        asyncio.run(go())
        tools.send(signal.SIGTERM)
        assert tools.wait(12) == 0


def test_a_prefork_worker_ends_with_its_grace_period_whatever_its_children_do(red: RedisServer, tmp_path: Path) -> None:
    async def go() -> None:
        async with desk(red.url) as at:
            await at.submit(task(["grind", {"seconds": 60}]))
            eventually(lambda: open_shop.noted("grind") != [])
            started = time.monotonic()
            tools.send(signal.SIGTERM)
            assert tools.wait(12) == 0
            assert time.monotonic() - started <= 1 + 2

    with shop(red.url, tmp_path) as open_shop:
        tools = open_shop.start(queue="heavy", pool="prefork", slots=2, grace_s=1)
        open_shop.start().ready()
        tools.ready()
        asyncio.run(go())


def test_a_worker_loads_no_heavy_library() -> None:
    code = (
        "import sys, loopwright.workers.process, loopwright.workers.tool_process, loopwright.workers.quarantine,"
        " loopwright.workers.scheduler, loopwright.workers.webhooks, loopwright.memory.store\n"
        "print(sorted({'dspy', 'torch', 'openai', 'mcp', 'outlines', 'litellm', 'fastapi'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_password_of_redis_is_in_no_log_also_when_redis_goes_away(tmp_path: Path) -> None:
    with redis_server("system", tmp_path / "redis") as server:
        server.command("CONFIG", "SET", "requirepass", "hush-hush")
        url = f"unix://:hush-hush@{server.socket}"
        with shop(url, tmp_path) as open_shop:
            worker = open_shop.start(grace_s=1).ready()
            server.kill()
            eventually(lambda: any("Cannot connect to" in line for line in worker.lines))
            worker.send(signal.SIGTERM)
            worker.wait(12)
            assert "hush-hush" not in "".join(worker.lines)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"url": "redis://127.0.0.1:1/0"}, "no answer from Redis"),
        ({"pool": "prefork"}, "--queue"),
    ],
)
def test_a_worker_that_cannot_start_says_why(
    red: RedisServer, tmp_path: Path, options: dict[str, Any], said: str
) -> None:
    with shop(red.url, tmp_path) as open_shop:
        worker = open_shop.start(**options)
        assert worker.wait(30) != 0
        assert said in "".join(worker.lines)
