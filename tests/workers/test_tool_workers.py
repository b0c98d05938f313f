"""Queued tools on real Celery workers: every pool makes calls, and a child that dies costs an attempt, no worker."""

import asyncio
import contextlib
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from loopwright import load
from loopwright.testing import ScriptedEndpoint, answer, call

from ..servers import RedisServer
from .test_tool_queue import LEASE_S, ROOT, one_server, service, soon, write_agent

__all__ = ["one_server"]

START_S = 60.0

WORKER = """
import sys
from loopwright.settings import Settings
from loopwright.workers.process import run_worker

url, agents, pool, lease_s = sys.argv[1:]
settings = Settings(redis_url=url, lease_s=float(lease_s), slots=2, grace_s=2)
sys.exit(run_worker(settings, [agents], queue="gpu", pool=pool))
"""


@contextlib.contextmanager
def celery_worker(server: RedisServer, agents: Path, pool: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a tool worker; yield when it takes messages."""
    log = agents.with_suffix(".log")
    command = [sys.executable, "-c", WORKER, server.url, str(agents), pool, str(LEASE_S)]
    with log.open("wb") as told:
        process = subprocess.Popen(command, cwd=ROOT, stdout=told, stderr=told)
    try:
        give_up = time.monotonic() + START_S
        while b" ready: " not in log.read_bytes():
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < give_up, log.read_text()
            time.sleep(0.02)
        yield process
        process.terminate()
        assert process.wait(30) == 0, log.read_text()
    finally:
        process.kill()
        process.wait(30)


@pytest.mark.parametrize("pool", ["asyncio", "prefork", "threads", "solo"])
def test_every_pool_makes_queued_calls_and_leaves_when_told(one_server: RedisServer, tmp_path: Path, pool: str) -> None:
    path = write_agent(tmp_path, "keyed", None)
    (tmp_path / "made.log").write_text("nobody dies\n")
    agent = load(str(path))[0]

    async def go() -> None:
        async with service(one_server, agent) as here:
            with celery_worker(one_server, path, pool):
                run_id = await here.submit()
                state = await here.drive(run_id, call("make"), answer("x"))
            assert (state.status, state.observed[0].calls[0].text) == ("succeeded", "made")

    asyncio.run(go())


def test_a_child_that_dies_costs_an_attempt_and_the_worker_goes_on(one_server: RedisServer, tmp_path: Path) -> None:
    path = write_agent(tmp_path, "keyed", None)
    agent = load(str(path))[0]

    async def go() -> None:
        async with service(one_server, agent) as here:
            with celery_worker(one_server, path, "prefork"):
                run_id = await here.submit()
                assert (await here.drive(run_id, call("make"), answer("x"))).status == "succeeded"
            made = (tmp_path / "made.log").read_text().splitlines()
            assert made == [f"{run_id}/1.1 1", f"{run_id}/1.1 2"]

    asyncio.run(go())


def test_a_blocking_call_of_a_cancelled_run_gives_its_place_in_the_pool_free(
    one_server: RedisServer, tmp_path: Path
) -> None:
    path = write_agent(tmp_path, "keyed", None)
    agent = load(str(path))[0]

    async def go() -> None:
        async with service(one_server, agent) as here:
            with celery_worker(one_server, path, "prefork"):
                for _ in range(3):  # one more than the pool has places
                    (tmp_path / "made.log").unlink(missing_ok=True)
                    run_id = await here.submit()
                    await here.resume(run_id, ScriptedEndpoint([call("block")]))
                    await soon((tmp_path / "made.log").exists)
                    await here.journal.request_cancel(run_id, "enough")
                    assert (await here.drive(run_id)).status == "cancelled"
                run_id = await here.submit()
                assert (await here.drive(run_id, call("make"), answer("x"))).status == "succeeded"

    asyncio.run(go())
