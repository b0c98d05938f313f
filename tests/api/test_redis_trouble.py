"""T10, T11: while Redis is away, silent, full or read-only, the API says so in time and makes no half of a run."""

import asyncio
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from loopwright.planner.events import RunCreated

from ..memory.support import eventually, in_loop
from ..servers import RedisServer, redis_server
from .agents_under_test import clerk
from .served import Served, served

RUN = {"agent": "clerk", "task": "hello"}
IN_TIME_S = 5.0
REQUESTS: tuple[tuple[str, str, Any], ...] = (
    ("POST", "/v1/runs", RUN),
    ("POST", "/v1/runs/batch", {"runs": [RUN, RUN]}),
    ("GET", "/v1/runs", None),
    ("GET", "/v1/runs/{run}", None),
    ("GET", "/v1/runs/{run}/events", None),
    ("GET", "/v1/runs/{run}/export", None),
    ("POST", "/v1/runs/{run}/cancel", None),
    ("POST", "/v1/runs/{run}/fork", {}),
    ("GET", "/readyz", None),
)


@contextmanager
def silent(server: RedisServer) -> Iterator[None]:
    """Let the server take connections and answer nothing, as behind a black hole."""
    os.kill(server.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(server.pid, signal.SIGCONT)


async def timed(api: Served, method: str, path: str, body: Any) -> tuple[Any, float]:
    """Send a request; return the answer and how long it took."""
    loop = asyncio.get_running_loop()
    start = loop.time()
    answer = await api.http.request(method, path, **({} if body is None else {"json": body}))
    return answer, loop.time() - start


async def accepted(api: Served) -> bool:
    return (await api.http.post("/v1/runs", json=RUN)).status_code == 202


async def whole_runs(api: Served) -> int:
    """Return how many runs are listed, each of them complete and due."""
    records = await api.store.journal.runs("local", limit=1000)
    for record in records:
        events = await api.store.journal.read(record.run_id)
        assert isinstance(events[0].event, RunCreated)
    return len(records)


@pytest.mark.parametrize("trouble", ["killed", "silent"])
@in_loop
async def test_every_route_says_within_five_seconds_that_redis_is_away(tmp_path: Path, trouble: str) -> None:
    with redis_server("system", tmp_path / "redis", appendfsync="always") as server:
        async with served(server, tmp_path, [clerk]) as api:
            run_id = await api.submit()
            if trouble == "killed":
                server.kill()
                await check_refusals(api, run_id)
                server.start()
            else:
                with silent(server):
                    await check_refusals(api, run_id)
            await eventually(lambda: accepted(api))
            assert await whole_runs(api) >= 2
            assert (await api.http.get("/readyz")).json()["status"] == "ready"


async def check_refusals(api: Served, run_id: str) -> None:
    """Check that every route answers 503 in time, and that health does not depend on Redis."""
    work = [timed(api, method, path.format(run=run_id), body) for method, path, body in REQUESTS]
    for answer, took in await asyncio.gather(*work):
        assert answer.status_code == 503, answer.text
        assert took < IN_TIME_S
        assert int(answer.headers["retry-after"]) >= 1
        assert answer.json()["type"] == "urn:loopwright:problem:journal_unavailable"
        assert answer.json()["retryable"]
    assert (await api.http.get("/healthz")).status_code == 200


@in_loop
async def test_a_retry_after_a_503_makes_one_run_however_much_of_the_first_arrived(tmp_path: Path) -> None:
    with redis_server("system", tmp_path / "redis") as server:
        async with served(server, tmp_path, [clerk]) as api:
            key = {"idempotency-key": "once"}
            with silent(server):
                assert (await api.http.post("/v1/runs", json=RUN, headers=key)).status_code == 503

            async def again() -> bool:
                return (await api.http.post("/v1/runs", json=RUN, headers=key)).status_code == 202

            await eventually(again)
            assert await whole_runs(api) == 1


@in_loop
async def test_a_full_store_refuses_new_runs_serves_all_else_and_takes_runs_again(tmp_path: Path) -> None:
    with redis_server("system", tmp_path / "redis") as server:
        async with served(server, tmp_path, [clerk]) as api:
            run_id = await api.submit()
            server.command("CONFIG", "SET", "maxmemory", "1mb")

            async def refused() -> bool:
                answer = await api.http.post("/v1/runs", json=RUN)
                return answer.status_code == 503 and answer.json()["type"] == "urn:loopwright:problem:store_full"

            await eventually(refused)
            answer, took = await timed(api, "POST", "/v1/runs", RUN)
            assert answer.headers["retry-after"] and took < IN_TIME_S

            async def unready() -> bool:
                return (await api.http.get("/readyz")).status_code == 503

            await eventually(unready)
            assert (await api.http.get(f"/v1/runs/{run_id}")).status_code == 200
            assert await whole_runs(api) == 1
            server.command("CONFIG", "SET", "maxmemory", "0")
            await eventually(lambda: accepted(api))


@in_loop
async def test_a_read_only_server_refuses_new_runs_and_takes_them_again(tmp_path: Path) -> None:
    with redis_server("system", tmp_path / "redis") as server:
        async with served(server, tmp_path, [clerk]) as api:
            run_id = await api.submit()
            server.command("CONFIG", "SET", "replica-serve-stale-data", "yes")
            server.command("REPLICAOF", "127.0.0.1", "1")
            answer, took = await timed(api, "POST", "/v1/runs", RUN)
            assert (answer.status_code, bool(answer.headers["retry-after"])) == (503, True)
            assert took < IN_TIME_S
            assert (await api.http.get(f"/v1/runs/{run_id}")).status_code == 200
            server.command("REPLICAOF", "NO", "ONE")
            await eventually(lambda: accepted(api))
            assert await whole_runs(api) == 2
