"""Schedules over HTTP: made, changed, fired by the clock and by hand, and what is refused."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from loopwright import Agent
from loopwright.workers.scheduler import tick

from ..memory.support import in_loop
from ..servers import RedisServer
from .served import Served, served

CLERK = Agent("clerk", "Answer.")
BODY: dict[str, Any] = {
    "id": "daily",
    "cron": "30 2 * * *",
    "timezone": "Europe/Berlin",
    "run": {"agent": "clerk", "task": "report"},
}
PROBLEM = "urn:loopwright:problem:"


@asynccontextmanager
async def clerks(server: RedisServer, tmp_path: Path, **options: Any) -> AsyncIterator[Served]:
    async with served(server, tmp_path, [CLERK], **options) as api:
        yield api


async def ok(call: Any, status: int = 200) -> Any:
    answer = await call
    assert answer.status_code == status, answer.text
    return answer.json()


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


@in_loop
async def test_a_schedule_is_made_and_says_when_it_fires_next(one_server: RedisServer, tmp_path: Path) -> None:
    async with clerks(one_server, tmp_path) as api:
        api.service.now_ms = lambda: int(moment("2026-03-28T12:00:00Z").timestamp() * 1000)
        answer = await api.http.post("/v1/schedules", json=BODY)
        assert (answer.status_code, answer.headers["location"]) == (201, "/v1/schedules/daily")
        made = answer.json()
        assert made["next_at"] == "2026-03-29T01:00:00Z"  # 2:30 does not exist that night
        assert {name: made[name] for name in BODY} == BODY
        assert (made["enabled"], made["last_at"], made["last_run"]) == (True, None, None)
        assert await ok(api.http.get("/v1/schedules/daily")) == made
        again = await ok(api.http.post("/v1/schedules", json=BODY), 409)
        assert again["type"] == PROBLEM + "schedule_exists"


@pytest.mark.parametrize(
    ("change", "status", "type_", "said"),
    [
        ({"cron": "61 * * * *"}, 422, "schedule_invalid", "cron: the field minute"),
        ({"cron": "* * *"}, 422, "schedule_invalid", "cron: has 3 fields"),
        ({"timezone": "Mars/Olympus"}, 422, "schedule_invalid", "timezone: 'Mars/Olympus' is no time zone"),
        ({"run": {"agent": "nobody", "task": "x"}}, 404, "agent_not_found", "nobody"),
        ({"run": {"agent": "clerk"}}, 422, "request_invalid", "task"),
        ({"run": {"agent": "clerk", "task": " "}}, 422, "task_invalid", "it is empty"),
        ({"run": {"agent": "clerk", "task": "é" * 40_000}}, 422, "schedule_invalid", "run: has 80,0"),
        (
            {"run": {"agent": "clerk", "task": "x", "webhook": "http://127.0.0.1/"}},
            422,
            "webhook_refused",
            "127.0.0.1",
        ),
        (
            {"run": {"agent": "clerk", "task": "x", "after": "2027-01-01T00:00:00Z"}},
            422,
            "schedule_invalid",
            "run.after",
        ),
    ],
)
def test_a_schedule_that_could_never_fire_is_refused_by_field(
    one_server: RedisServer, tmp_path: Path, change: dict[str, Any], status: int, type_: str, said: str
) -> None:
    async def ask() -> None:
        async with clerks(one_server, tmp_path) as api:
            problem = await ok(api.http.post("/v1/schedules", json=BODY | change), status)
            assert problem["type"] == PROBLEM + type_
            assert said in problem["detail"]
            await ok(api.http.post("/v1/schedules", json=BODY), 201)
            refused = await ok(api.http.patch("/v1/schedules/daily", json=change), status)
            assert refused["type"] == PROBLEM + type_
            assert (await ok(api.http.get("/v1/schedules/daily")))["run"] == BODY["run"]

    asyncio.run(ask())


@in_loop
async def test_a_change_keeps_what_it_does_not_name(one_server: RedisServer, tmp_path: Path) -> None:
    async with clerks(one_server, tmp_path) as api:
        made = await ok(api.http.post("/v1/schedules", json=BODY), 201)
        off = await ok(api.http.patch("/v1/schedules/daily", json={"enabled": False}))
        assert off == made | {"enabled": False, "next_at": None}
        assert await ok(api.http.patch("/v1/schedules/daily", json={"enabled": True})) == made
        run = {"agent": "clerk", "task": {"what": "report"}, "priority": "low"}
        assert await ok(api.http.patch("/v1/schedules/daily", json={"run": run})) == made | {"run": run}
        moved = await ok(api.http.patch("/v1/schedules/daily", json={"cron": "0 0 1 1 *", "timezone": "UTC"}))
        assert moment(moved["next_at"]) == datetime(datetime.now(UTC).year + 1, 1, 1, tzinfo=UTC)
        changes = (api.http.patch("/v1/schedules/daily", json={"cron": f"{each} 5 * * *"}) for each in range(8))
        assert {each.status_code for each in await asyncio.gather(*changes)} == {200}
        assert (await ok(api.http.patch("/v1/schedules/other", json={}), 404))["type"] == PROBLEM + "schedule_not_found"


@in_loop
async def test_lists_are_paged_and_a_deleted_schedule_is_gone(one_server: RedisServer, tmp_path: Path) -> None:
    async with clerks(one_server, tmp_path) as api:
        names = [f"s{index}" for index in range(5)]
        for name in names:
            await ok(api.http.post("/v1/schedules", json=BODY | {"id": name}), 201)
        found, cursor = [], {}
        while True:
            page = await ok(api.http.get("/v1/schedules", params={"limit": 2, **cursor}))
            found += [each["id"] for each in page["items"]]
            if page["next"] is None:
                break
            cursor = {"cursor": page["next"]}
        assert sorted(found) == names
        assert (await api.http.delete("/v1/schedules/s3")).status_code == 204
        for method, path in (("GET", ""), ("DELETE", ""), ("POST", "/trigger"), ("GET", "/history")):
            problem = await ok(api.http.request(method, f"/v1/schedules/s3{path}"), 404)
            assert problem["type"] == PROBLEM + "schedule_not_found"


@in_loop
async def test_a_schedule_fired_by_hand_makes_a_run_and_keeps_its_moments(
    one_server: RedisServer, tmp_path: Path
) -> None:
    async with clerks(one_server, tmp_path) as api:
        made = await ok(api.http.post("/v1/schedules", json=BODY | {"enabled": False}), 201)
        key = {"idempotency-key": "k1"}
        answer = await api.http.post("/v1/schedules/daily/trigger", headers=key)
        assert answer.status_code == 202
        run = answer.json()
        assert answer.headers["location"] == f"/v1/runs/{run['id']}"
        assert (run["agent"], run["task"], run["status"]) == ("clerk", "report", "queued")
        assert (await ok(api.http.post("/v1/schedules/daily/trigger", headers=key), 202))["id"] == run["id"]
        assert [each for each, _ in api.bell.rung] == [run["id"]]
        (fired,) = (await ok(api.http.get("/v1/schedules/daily/history")))["items"]
        assert (fired["run_id"], fired["problem"], fired["manual"]) == (run["id"], None, True)
        now = await ok(api.http.get("/v1/schedules/daily"))
        assert (now["next_at"], now["last_run"], now["last_at"]) == (made["next_at"], run["id"], fired["at"])
        (created, *_) = await api.store.journal.read(run["id"])
        assert created.event.by == "schedule:daily"  # type: ignore[union-attr]


@in_loop
async def test_a_firing_that_is_refused_is_told_and_stands_in_the_history(
    one_server: RedisServer, tmp_path: Path
) -> None:
    async with clerks(one_server, tmp_path) as api:
        body = BODY | {"run": {"agent": "clerk", "task": "report", "thread_id": "t1"}}
        await ok(api.http.post("/v1/schedules", json=body), 201)
        first = await ok(api.http.post("/v1/schedules/daily/trigger"), 202)
        problem = await ok(api.http.post("/v1/schedules/daily/trigger"), 409)
        assert problem["type"] == PROBLEM + "thread_busy"
        found = (await ok(api.http.get("/v1/schedules/daily/history")))["items"]
        assert [each["run_id"] for each in found] == [None, first["id"]]
        assert first["id"] in found[0]["problem"]


@in_loop
async def test_the_clock_fires_what_was_made_over_http(one_server: RedisServer, tmp_path: Path) -> None:
    async with clerks(one_server, tmp_path) as api:
        api.service.now_ms = lambda: int((time.time() - 120) * 1000)
        made = await ok(api.http.post("/v1/schedules", json=BODY | {"cron": "* * * * *"}), 201)
        assert await tick(api.service) == 1
        (fired,) = (await ok(api.http.get("/v1/schedules/daily/history")))["items"]
        assert (fired["at"], fired["manual"]) == (made["next_at"], False)
        run = await ok(api.http.get(f"/v1/runs/{fired['run_id']}"))
        assert run["task"] == "report"
        now = await ok(api.http.get("/v1/schedules/daily"))
        assert moment(now["next_at"]) > moment(made["next_at"])


@in_loop
async def test_a_repeated_request_with_the_same_key_makes_one_schedule(one_server: RedisServer, tmp_path: Path) -> None:
    async with clerks(one_server, tmp_path) as api:
        body = {name: value for name, value in BODY.items() if name != "id"}
        key = {"idempotency-key": "k1"}
        made = [await ok(api.http.post("/v1/schedules", json=body, headers=key), 201) for _ in range(2)]
        assert made[0] == made[1]
        assert len((await ok(api.http.get("/v1/schedules")))["items"]) == 1
        await ok(api.http.post("/v1/schedules", json=body | {"cron": "0 0 * * *"}, headers=key), 409)
        assert (await ok(api.http.post("/v1/schedules", json=body), 201))["id"] != made[0]["id"]


@in_loop
async def test_schedules_of_another_tenant_are_not_there(one_server: RedisServer, tmp_path: Path) -> None:
    async with clerks(one_server, tmp_path) as api:
        mine, theirs = await api.key("runs", "read", tenant="a"), await api.key("runs", "read", tenant="b")
        await ok(api.http.post("/v1/schedules", json=BODY, headers=mine), 201)
        for method, path, body in (
            ("GET", "", None), ("PATCH", "", {"enabled": False}), ("DELETE", "", None), ("POST", "/trigger", None),
            ("GET", "/history", None),
        ):  # fmt: skip
            answer = await api.http.request(method, f"/v1/schedules/daily{path}", json=body, headers=theirs)
            assert answer.status_code == 404, (method, path)
        assert (await ok(api.http.get("/v1/schedules", headers=theirs)))["items"] == []
        await ok(api.http.post("/v1/schedules", json=BODY, headers=theirs), 201)
        reader = await api.key("read", tenant="a")
        assert (await api.http.delete("/v1/schedules/daily", headers=reader)).status_code == 403
