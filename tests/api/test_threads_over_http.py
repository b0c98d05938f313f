"""Threads over HTTP with the real runner behind: memory between runs, one at a time, in order."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from loopwright import Agent

from ..memory.support import eventually, in_loop
from ..servers import RedisServer
from .served import Served, served
from .worker_inside import Parrot, working


@asynccontextmanager
async def talking(server: RedisServer, tmp_path: Path) -> AsyncIterator[tuple[Served, Parrot]]:
    model = Parrot()
    async with served(server, tmp_path, [Agent("clerk", "Answer.", model=model)]) as api, working(api):
        yield api, model
        model.gate.set()


async def done(api: Served, run_id: str) -> dict[str, Any]:
    """Wait until a run has ended."""
    for _ in range(4):
        found = await api.http.get(f"/v1/runs/{run_id}", headers={"prefer": "wait=5"})
        assert found.status_code == 200, found.text
        run: dict[str, Any] = found.json()
        if run["status"] not in ("queued", "running"):
            return run
    raise AssertionError(run)


async def thread(api: Served, name: str = "t1") -> dict[str, Any]:
    found = await api.http.get(f"/v1/threads/{name}")
    assert found.status_code == 200, found.text
    body: dict[str, Any] = found.json()
    return body


async def said(api: Served, name: str = "t1") -> list[tuple[str, str]]:
    """Return the thread's messages, page by page."""
    messages, cursor = [], {}
    while True:
        page = (await api.http.get(f"/v1/threads/{name}/messages", params={"limit": 3, **cursor})).json()
        messages += [(each["role"], each["text"]) for each in page["items"]]
        if page["next"] is None:
            return messages
        cursor = {"cursor": page["next"]}


async def post(api: Served, task: str, overlap: str = "reject") -> Any:
    body = {"agent": "clerk", "task": task, "thread_id": "t1", "overlap": overlap}
    return await api.http.post("/v1/runs", json=body)


@in_loop
async def test_the_second_run_of_a_thread_sees_what_the_first_said(one_server: RedisServer, tmp_path: Path) -> None:
    async with talking(one_server, tmp_path) as (api, model):
        first = await done(api, await api.submit(task="My name is Ada.", thread_id="t1"))
        second = await done(api, await api.submit(task="What is my name?", thread_id="t1"))
        assert (first["status"], second["status"]) == ("succeeded", "succeeded")
        seen = "\n".join(each.content for each in model.requests[1].messages)
        assert "My name is Ada." in seen and "heard: " in seen
        assert seen.index("My name is Ada.") < seen.index("What is my name?")
        assert "My name is Ada." not in "\n".join(each.content for each in model.requests[0].messages[:-1])
        assert [text for _, text in await said(api)] == [
            "My name is Ada.", first["output"], "What is my name?", second["output"],
        ]  # fmt: skip
        found = await thread(api)
        assert (found["messages"], found["running"], found["queued"]) == (4, None, [])


@in_loop
async def test_another_thread_and_no_thread_know_nothing_of_it(one_server: RedisServer, tmp_path: Path) -> None:
    async with talking(one_server, tmp_path) as (api, model):
        await done(api, await api.submit(task="secret", thread_id="t1"))
        for more in ({"thread_id": "t2"}, {}):
            await done(api, await api.submit(task="what?", **more))
            assert not any("secret" in each.content for each in model.requests[-1].messages)


@in_loop
async def test_a_busy_thread_rejects_unless_told_otherwise(one_server: RedisServer, tmp_path: Path) -> None:
    async with talking(one_server, tmp_path) as (api, model):
        model.gate.clear()
        first = (await post(api, "one")).json()["id"]
        refused = await post(api, "two")
        assert refused.status_code == 409
        assert refused.json()["type"] == "urn:loopwright:problem:thread_busy"
        assert first in refused.json()["detail"]
        assert (await thread(api))["running"] == first
        model.gate.set()
        await done(api, first)
        assert (await post(api, "two")).status_code == 202


@in_loop
async def test_runs_that_are_enqueued_together_go_one_at_a_time_in_their_order(
    one_server: RedisServer, tmp_path: Path
) -> None:
    async with talking(one_server, tmp_path) as (api, model):
        model.gate.clear()
        first = (await post(api, "0")).json()["id"]
        answers = await asyncio.gather(*(post(api, str(number), "enqueue") for number in range(1, 21)))
        assert {each.status_code for each in answers} == {202}
        task_of = {each.json()["id"]: str(number) for number, each in enumerate(answers, 1)}
        queued = (await thread(api))["queued"]
        assert sorted(queued) == sorted(task_of)

        async def first_is_asked() -> bool:
            return len(model.requests) == 1

        await eventually(first_is_asked)
        model.gate.set()
        for run_id in (first, *queued):
            assert (await done(api, run_id))["status"] == "succeeded"
        assert [text for role, text in await said(api) if role == "user"] == ["0", *(task_of[each] for each in queued)]
        lengths = [len(request.messages) for request in model.requests]
        assert lengths == sorted(lengths)


@in_loop
async def test_an_interrupt_stops_what_runs_and_goes_before_what_waits(one_server: RedisServer, tmp_path: Path) -> None:
    async with talking(one_server, tmp_path) as (api, model):
        model.gate.clear()
        first = (await post(api, "first")).json()["id"]
        waiting = (await post(api, "waiting", "enqueue")).json()["id"]

        async def first_is_asked() -> bool:
            return len(model.requests) == 1

        await eventually(first_is_asked)
        urgent = (await post(api, "urgent", "interrupt")).json()["id"]
        assert (await done(api, first))["status"] == "cancelled"
        model.gate.set()
        assert (await done(api, urgent))["status"] == "succeeded"
        assert (await done(api, waiting))["status"] == "succeeded"
        asked = [text for role, text in await said(api) if role == "user"]
        assert asked.index("urgent") < asked.index("waiting")


@in_loop
async def test_a_thread_is_made_listed_and_deleted(one_server: RedisServer, tmp_path: Path) -> None:
    async with talking(one_server, tmp_path) as (api, _):
        made = await api.http.post("/v1/threads", json={"id": "mine", "metadata": {"customer": 7}})
        assert (made.status_code, made.headers["location"]) == (201, "/v1/threads/mine")
        assert made.json() == await thread(api, "mine")
        assert made.json()["metadata"] == {"customer": 7}
        again = await api.http.post("/v1/threads", json={"id": "mine"})
        assert (again.status_code, again.json()["type"]) == (409, "urn:loopwright:problem:thread_exists")
        drawn = [(await api.http.post("/v1/threads", json={})).json()["id"] for _ in range(4)]
        listed, cursor = [], {}
        while True:
            page = (await api.http.get("/v1/threads", params={"limit": 2, **cursor})).json()
            listed += [each["id"] for each in page["items"]]
            if page["next"] is None:
                break
            cursor = {"cursor": page["next"]}
        assert sorted(listed) == sorted([*drawn, "mine"])
        assert (await api.http.delete("/v1/threads/mine")).status_code == 204
        for answer in (
            await api.http.get("/v1/threads/mine"),
            await api.http.get("/v1/threads/mine/messages"),
            await api.http.delete("/v1/threads/mine"),
        ):
            assert (answer.status_code, answer.json()["type"]) == (404, "urn:loopwright:problem:thread_not_found")


@in_loop
async def test_a_repeated_request_with_the_same_key_makes_one_thread(one_server: RedisServer, tmp_path: Path) -> None:
    async with served(one_server, tmp_path) as api:
        key = {"idempotency-key": "k1"}
        first = await api.http.post("/v1/threads", json={}, headers=key)
        second = await api.http.post("/v1/threads", json={}, headers=key)
        assert (first.status_code, first.json()) == (second.status_code, second.json())
        other = await api.http.post("/v1/threads", json={"metadata": {"a": 1}}, headers=key)
        assert other.status_code == 409
        assert len((await api.http.get("/v1/threads")).json()["items"]) == 1


@in_loop
async def test_a_thread_with_a_run_that_has_not_ended_is_not_deleted(one_server: RedisServer, tmp_path: Path) -> None:
    async with talking(one_server, tmp_path) as (api, model):
        model.gate.clear()
        run_id = (await post(api, "one")).json()["id"]
        refused = await api.http.delete("/v1/threads/t1")
        assert (refused.status_code, refused.json()["type"]) == (409, "urn:loopwright:problem:thread_busy")
        model.gate.set()
        await done(api, run_id)
        assert (await api.http.delete("/v1/threads/t1")).status_code == 204
        assert (await api.http.get(f"/v1/runs/{run_id}")).status_code == 200


@in_loop
async def test_threads_of_another_tenant_are_not_there(one_server: RedisServer, tmp_path: Path) -> None:
    async with served(one_server, tmp_path) as api:
        mine, theirs = await api.key("runs", "read", tenant="a"), await api.key("runs", "read", tenant="b")
        await api.http.post("/v1/threads", json={"id": "t1"}, headers=mine)
        for method, path in (("GET", "t1"), ("GET", "t1/messages"), ("DELETE", "t1")):
            answer = await api.http.request(method, f"/v1/threads/{path}", headers=theirs)
            assert answer.status_code == 404
        assert (await api.http.get("/v1/threads", headers=theirs)).json()["items"] == []
        assert (await api.http.get("/v1/threads/t1", headers=mine)).status_code == 200
        reader = await api.key("read", tenant="a")
        assert (await api.http.delete("/v1/threads/t1", headers=reader)).status_code == 403
