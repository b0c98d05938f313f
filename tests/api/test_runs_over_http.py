"""Runs as callers see them: submitted, shown, listed, cancelled, forked, exported."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from loopwright.agents import Registry
from loopwright.api.routes import runs as runs_module
from loopwright.api.submit import submit
from loopwright.errors import JournalUnavailable
from loopwright.planner.events import RunClaimed, RunCreated
from loopwright.testing import answer, call

from ..memory.support import in_loop
from ..servers import RedisServer
from .agents_under_test import changed_clerk, clerk
from .served import served

RUN = {"agent": "clerk", "task": "hello"}


@in_loop
async def test_a_submitted_run_is_kept_before_the_answer_and_a_worker_is_rung_for(
    one_server: RedisServer, tmp_path: Path
) -> None:
    async with served(one_server, tmp_path, [clerk]) as api:
        body = {**RUN, "priority": "high", "metadata": {"ticket": 7}, "model": "small"}
        response = await api.http.post("/v1/runs", json=body)
        run = response.json()
        assert response.status_code == 202
        assert response.headers["location"] == f"/v1/runs/{run['id']}"
        assert response.headers["x-request-id"]
        assert (run["status"], run["durability"], run["agent_hash"]) == ("queued", "everysec", clerk.hash)
        assert api.bell.rung == [(run["id"], "high")]
        shown = (await api.http.get(response.headers["location"])).json()
        assert shown | {"updated_at": ""} == run | {"updated_at": ""}
        (created,) = [each.event for each in await api.store.journal.read(run["id"])]
        assert isinstance(created, RunCreated)
        assert (created.by, created.model, created.metadata) == ("local", "small", {"ticket": 7})


@in_loop
async def test_a_run_that_ended_shows_its_answer_and_what_it_cost(one_server: RedisServer, tmp_path: Path) -> None:
    async with served(one_server, tmp_path, [clerk]) as api:
        run_id = await api.submit()
        await api.drive(run_id, call("look", what="sky"), answer("It is blue."))
        run = (await api.http.get(f"/v1/runs/{run_id}")).json()
        assert (run["status"], run["output"], run["step"], run["attempts"]) == ("succeeded", "It is blue.", 2, 1)


@in_loop
async def test_a_waiting_run_shows_the_calls_that_it_waits_for(one_server: RedisServer, tmp_path: Path) -> None:
    async with served(one_server, tmp_path, [clerk]) as api:
        run_id = await api.submit()
        await api.drive(run_id, call("send", text="hi"), approval_ttl_s=600.0)
        run = (await api.http.get(f"/v1/runs/{run_id}")).json()
        assert run["waiting"]["reason"] == "approval"
        assert run["waiting"]["calls"] == [{"call_id": "1.1", "tool": "send", "arguments": '{"text":"hi"}'}]
        assert datetime.fromisoformat(run["waiting"]["expires_at"]) > datetime.now(UTC) + timedelta(minutes=5)


@in_loop
async def test_prefer_wait_answers_when_the_run_has_ended(one_server: RedisServer, tmp_path: Path) -> None:
    async with served(one_server, tmp_path, [clerk]) as api:
        waiting = asyncio.create_task(api.http.post("/v1/runs", json=RUN, headers={"prefer": "wait=30"}))
        while not api.bell.rung:
            await asyncio.sleep(0.01)
        await api.drive(api.bell.rung[0][0], answer("done"))
        response = await waiting
        assert (response.status_code, response.headers["preference-applied"]) == (200, "wait=30")
        assert response.json()["output"] == "done"


@in_loop
async def test_prefer_wait_ends_with_the_run_as_it_stands(one_server: RedisServer, tmp_path: Path) -> None:
    async with served(one_server, tmp_path, [clerk]) as api:
        response = await api.http.post("/v1/runs", json=RUN, headers={"prefer": "respond-async, wait=1"})
        assert (response.status_code, response.json()["status"]) == (202, "queued")
        assert response.headers["location"] and response.headers["preference-applied"] == "wait=1"
        run_id = response.json()["id"]
        waiting = asyncio.create_task(api.http.get(f"/v1/runs/{run_id}", headers={"prefer": "wait=30"}))
        await asyncio.sleep(0.05)
        await api.drive(run_id, call("send", text="hi"))
        shown = await asyncio.wait_for(waiting, 10)
        assert (shown.status_code, shown.json()["status"]) == (200, "waiting")


@in_loop
async def test_a_run_with_a_moment_is_not_rung_for_and_its_deadline_counts_from_then(
    one_server: RedisServer, tmp_path: Path
) -> None:
    async with served(one_server, tmp_path, [clerk]) as api:
        later = datetime.now(UTC) + timedelta(hours=3)
        run_id = await api.submit(after=later.isoformat())
        assert api.bell.rung == [] and await api.store.journal.due() == []
        (created,) = [each.event for each in await api.store.journal.read(run_id)]
        assert isinstance(created, RunCreated)
        assert abs(created.created_ms - later.timestamp() * 1000) < 2
        shown = datetime.fromisoformat((await api.http.get(f"/v1/runs/{run_id}")).json()["created_at"])
        assert shown < datetime.now(UTC) + timedelta(minutes=1)


@pytest.mark.parametrize("asked", [{"max_steps": 3}, {"deadline_s": 1.5, "max_cost": 0.5}, {"max_steps": 99}])
@in_loop
async def test_limits_only_ever_get_smaller(one_server: RedisServer, tmp_path: Path, asked: dict[str, Any]) -> None:
    async with served(one_server, tmp_path, [clerk]) as api:
        run_id = await api.submit(limits=asked)
        limits = (await api.http.get(f"/v1/runs/{run_id}")).json()["limits"]
        assert limits["max_steps"] == min(asked.get("max_steps", 8), 8)
        assert limits["deadline_s"] == asked.get("deadline_s", 60)
        assert limits["max_cost"] == asked.get("max_cost")


@pytest.mark.parametrize(
    ("body", "status", "code", "where"),
    [
        ({"agent": "nobody", "task": "x"}, 404, "agent_not_found", None),
        ({"agent": "clerk"}, 422, "request_invalid", "body.task"),
        ({"agent": "clerk", "task": "  "}, 422, "task_invalid", None),
        ({"agent": "clerk", "task": None}, 422, "task_invalid", None),
        ({**RUN, "colour": "red"}, 422, "request_invalid", "body.colour"),
        ({**RUN, "limits": {"max_steps": "3"}}, 422, "request_invalid", "body.limits.max_steps"),
        ({**RUN, "limits": {"max_steps": True}}, 422, "request_invalid", "body.limits.max_steps"),
        ({**RUN, "after": 1700000000}, 422, "request_invalid", "body.after"),
        ({**RUN, "after": "2027-01-01T00:00:00"}, 422, "request_invalid", "body.after"),
        ({**RUN, "thread_id": "a/b"}, 422, "request_invalid", "body.thread_id"),
        ({**RUN, "metadata": {"note": "x" * 17_000}}, 422, "request_invalid", "body.metadata"),
        ({**RUN, "webhook": "http://127.0.0.1/x"}, 422, "webhook_refused", None),
        ([RUN], 422, "request_invalid", "body"),
    ],
)
@in_loop
async def test_what_cannot_be_run_is_refused_with_the_place(
    one_server: RedisServer, tmp_path: Path, body: Any, status: int, code: str, where: str | None
) -> None:
    async with served(one_server, tmp_path, [clerk]) as api:
        response = await api.http.post("/v1/runs", json=body)
        problem = response.json()
        assert (response.status_code, problem["status"]) == (status, status)
        assert response.headers["content-type"] == "application/problem+json"
        assert problem["type"] == f"urn:loopwright:problem:{code}"
        assert problem["detail"] and problem["remedy"] and problem["title"]
        assert problem["request_id"] == response.headers["x-request-id"]
        assert [each["where"] for each in problem["errors"]][:1] == ([where] if where else [])
        assert await api.store.journal.runs("local") == []


@in_loop
async def test_the_same_key_and_body_find_the_same_run_and_another_body_is_refused(
    one_server: RedisServer, tmp_path: Path
) -> None:
    async with served(one_server, tmp_path, [clerk]) as api:
        key = {"idempotency-key": "order-17"}
        first = await api.http.post("/v1/runs", json=RUN, headers=key)
        await api.drive(first.json()["id"], answer("done"))
        again = await api.http.post("/v1/runs", json=dict(reversed(RUN.items())), headers=key)
        assert (again.status_code, again.json()["id"], again.json()["status"]) == (202, first.json()["id"], "succeeded")
        other = await api.http.post("/v1/runs", json={**RUN, "task": "other"}, headers=key)
        assert (other.status_code, other.json()["type"]) == (409, "urn:loopwright:problem:idempotency_conflict")
        assert len(api.bell.rung) == 1


@in_loop
async def test_a_hundred_keys_posted_fifty_times_at_once_make_a_hundred_runs(
    one_server: RedisServer, tmp_path: Path
) -> None:
    """T17."""
    async with served(one_server, tmp_path, [clerk]) as api:

        async def post(key: int, task: str = "") -> tuple[int, str]:
            body = {"agent": "clerk", "task": task or f"task {key}"}
            response = await api.http.post("/v1/runs", json=body, headers={"idempotency-key": f"k{key}"})
            return response.status_code, response.json().get("id", "")

        found = await asyncio.gather(*(post(key) for _ in range(50) for key in range(100)))
        assert {status for status, _ in found} == {202}
        assert len({run_id for _, run_id in found}) == 100
        assert len(await api.store.journal.runs("local", limit=500)) == 100
        changed = await asyncio.gather(*(post(key, "changed") for key in range(100)))
        assert [status for status, _ in changed] == [409] * 100


@in_loop
async def test_a_key_belongs_to_its_tenant(one_server: RedisServer, tmp_path: Path) -> None:
    async with served(one_server, tmp_path, [clerk]) as api:
        mine, yours = await api.key("runs", tenant="mine"), await api.key("runs", tenant="yours")
        same = {"idempotency-key": "k"}
        first = await api.http.post("/v1/runs", json=RUN, headers=mine | same)
        second = await api.http.post("/v1/runs", json={**RUN, "task": "other"}, headers=yours | same)
        assert (first.status_code, second.status_code) == (202, 202)


@in_loop
async def test_each_task_of_a_batch_is_taken_or_refused_by_itself(one_server: RedisServer, tmp_path: Path) -> None:
    async with served(one_server, tmp_path, [clerk]) as api:
        runs = [RUN, {"agent": "nobody", "task": "x"}, {**RUN, "task": "other"}]
        key = {"idempotency-key": "batch-1"}
        first = (await api.http.post("/v1/runs/batch", json={"runs": runs}, headers=key)).json()["items"]
        again = (await api.http.post("/v1/runs/batch", json={"runs": runs}, headers=key)).json()["items"]
        assert [each["index"] for each in first] == [0, 1, 2]
        assert first[1]["problem"]["type"] == "urn:loopwright:problem:agent_not_found"
        assert [each["id"] for each in first] == [each["id"] for each in again]
        assert len(await api.store.journal.runs("local")) == 2
        for wrong in ({"agent": "clerk"}, {"agent": "clerk", "task": " "}):
            refused = await api.http.post("/v1/runs/batch", json={"runs": [RUN, wrong]})
            assert [each["where"] for each in refused.json()["errors"]] == ["body.runs[1].task"]


@in_loop
async def test_a_thousand_tasks_of_a_batch_are_written_in_few_round_trips(
    one_server: RedisServer, tmp_path: Path
) -> None:
    async with served(one_server, tmp_path, [clerk]) as api:
        body = {"runs": [{"agent": "clerk", "task": f"task {number}"} for number in range(1000)]}
        response = await api.http.post("/v1/runs/batch", json=body)
        ids = [each["id"] for each in response.json()["items"]]
        assert len(set(ids)) == 1000 and response.status_code == 202
        shown = await api.http.get(f"/v1/runs/{ids[-1]}")
        assert shown.json()["task"] == "task 999"


@in_loop
async def test_a_batch_is_submitted_piece_by_piece_and_not_beyond_the_first_that_cannot_be_stored(
    one_server: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    under_way, most, tried = 0, 0, 0

    async def submitted(*given: Any, **named: Any) -> Any:
        nonlocal under_way, most, tried
        under_way, tried = under_way + 1, tried + 1
        most = max(most, under_way)
        try:
            await asyncio.sleep(0)
            if tried > 40:
                raise JournalUnavailable("no answer")
            return await submit(*given, **named)
        finally:
            under_way -= 1

    monkeypatch.setattr(runs_module, "submit", submitted)
    async with served(one_server, tmp_path, [clerk]) as api:
        response = await api.http.post("/v1/runs/batch", json={"runs": [RUN] * 200})
    items = response.json()["items"]
    assert response.status_code == 202 and most == 32 and tried == 64
    assert len({each["id"] for each in items if each["id"]}) == 32
    assert [each["index"] for each in items] == list(range(200))
    assert {each["problem"]["type"] for each in items[64:]} == {"urn:loopwright:problem:journal_unavailable"}


@in_loop
async def test_runs_are_listed_newest_first_page_by_page(one_server: RedisServer, tmp_path: Path) -> None:
    async with served(one_server, tmp_path, [clerk]) as api:
        ids = [await api.submit() for _ in range(7)]
        seen: list[str] = []
        cursor = None
        while True:
            query = {"limit": 3} | ({"cursor": cursor} if cursor else {})
            page = (await api.http.get("/v1/runs", params=query)).json()
            seen += [each["id"] for each in page["items"]]
            assert len(page["items"]) <= 3
            if (cursor := page["next"]) is None:
                break
        assert seen == ids[::-1]


@in_loop
async def test_lists_filter_by_status_agent_and_moment(one_server: RedisServer, tmp_path: Path) -> None:
    async with served(one_server, tmp_path, [clerk]) as api:

        async def listed(**query: Any) -> list[str]:
            found = await api.http.get("/v1/runs", params=query)
            assert found.status_code == 200, found.text
            return [each["id"] for each in found.json()["items"]]

        old = await api.submit()
        await api.drive(old, answer("done"))
        await asyncio.sleep(0.05)
        between = datetime.now(UTC)
        await asyncio.sleep(0.05)
        new = await api.submit()
        assert await listed(status="succeeded") == [old]
        assert await listed(status="queued", agent="clerk") == [new]
        assert await listed(agent="nobody") == []
        assert await listed(created_after=between.isoformat()) == [new]
        assert await listed(created_before=between.isoformat()) == [old]
        assert (await api.http.get("/v1/runs", params={"cursor": "x"})).status_code == 422
        assert (await api.http.get("/v1/runs", params={"status": "lost"})).status_code == 422


@in_loop
async def test_a_cancelled_run_is_rung_for_and_ends_and_a_run_that_ended_stays_as_it_is(
    one_server: RedisServer, tmp_path: Path
) -> None:
    async with served(one_server, tmp_path, [clerk]) as api:
        run_id = await api.submit()
        api.bell.rung.clear()
        response = await api.http.post(f"/v1/runs/{run_id}/cancel", json={"reason": "changed my mind"})
        assert response.status_code == 202 and api.bell.rung
        assert (await api.drive(run_id)).status == "cancelled"
        again = await api.http.post(f"/v1/runs/{run_id}/cancel")
        assert (again.status_code, again.json()["status"]) == (200, "cancelled")
        assert again.json()["reason"] == "changed my mind"


@in_loop
async def test_a_fork_goes_on_from_a_step_without_calling_again(one_server: RedisServer, tmp_path: Path) -> None:
    async with served(one_server, tmp_path, [clerk]) as api:
        run_id = await api.submit()
        await api.drive(run_id, call("look", what="sky"), call("read_book", title="Emma"), answer("blue"))
        body = {"step": 2, "task": "another question", "model": "large", "limits": {"max_steps": 5}}
        key = {"idempotency-key": "f"}
        response = await api.http.post(f"/v1/runs/{run_id}/fork", json=body, headers=key)
        fork = response.json()
        assert response.status_code == 202 and response.headers["location"] == f"/v1/runs/{fork['id']}"
        assert (fork["forked_from"], fork["step"], fork["model"]) == (run_id, 2, "large")
        again = await api.http.post(f"/v1/runs/{run_id}/fork", json=body, headers=key)
        assert again.json()["id"] == fork["id"]
        state = await api.drive(fork["id"], answer("still blue"))
        assert (state.status, state.step, state.output) == ("succeeded", 3, '"still blue"')
        assert state.messages[1].content == "another question"
        events = await api.store.journal.read(fork["id"])
        assert sum(isinstance(each.event, RunClaimed) for each in events) == 1
        (artifact,) = (await api.store.journal.snapshot(fork["id"])).artifacts
        text = await api.http.get(f"/v1/runs/{fork['id']}/artifacts/{artifact}")
        assert text.text.count("a long story.") == 200 and text.headers["content-type"].startswith("text/plain")


@in_loop
async def test_a_fork_is_a_run_of_the_present_definition(one_server: RedisServer, tmp_path: Path) -> None:
    async with served(one_server, tmp_path, [clerk]) as api:
        run_id = await api.submit()
        await api.drive(run_id, call("look", what="sky"), answer("blue"))
        api.service.registry = Registry([changed_clerk])
        response = await api.http.post(f"/v1/runs/{run_id}/fork", json={"step": 1})
        assert response.json()["agent_hash"] == changed_clerk.hash
        state = await api.drive(response.json()["id"], answer("kindly blue"))
        assert "be kind" in state.messages[0].content and "sky is blue" in state.messages[3].content


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"step": 9}, 409, "fork_invalid"),
        ({"step": -1}, 422, "request_invalid"),
        ({"agent": "other"}, 422, "request_invalid"),
        ({"task": " "}, 422, "task_invalid"),
    ],
)
@in_loop
async def test_a_fork_that_makes_no_sense_is_refused(
    one_server: RedisServer, tmp_path: Path, body: Any, status: int, code: str
) -> None:
    async with served(one_server, tmp_path, [clerk]) as api:
        run_id = await api.submit()
        await api.drive(run_id, answer("blue"))
        response = await api.http.post(f"/v1/runs/{run_id}/fork", json=body)
        assert (response.status_code, response.json()["type"]) == (status, f"urn:loopwright:problem:{code}")


@in_loop
async def test_a_run_that_never_started_can_be_forked_from_its_beginning(
    one_server: RedisServer, tmp_path: Path
) -> None:
    async with served(one_server, tmp_path, [clerk]) as api:
        run_id = await api.submit(task={"n": 1})
        fork = (await api.http.post(f"/v1/runs/{run_id}/fork", json={})).json()
        assert (fork["task"], fork["step"], fork["status"]) == ({"n": 1}, 0, "queued")


@in_loop
async def test_an_export_holds_definition_prompt_events_and_artifacts(one_server: RedisServer, tmp_path: Path) -> None:
    async with served(one_server, tmp_path, [clerk]) as api:
        run_id = await api.submit()
        state = await api.drive(run_id, call("read_book", title="Emma"), answer("long"))
        response = await api.http.get(f"/v1/runs/{run_id}/export")
        export = response.json()
        assert export["format"] == "loopwright.run/1"
        assert (export["run"]["output"], export["agent"]["hash"]) == ("long", clerk.hash)
        assert [each["content"] for each in export["messages"]] == [each.content for each in state.messages]
        assert export["events"][0]["type"] == "run.created" and export["events"][-1]["type"] == "run.succeeded"
        (text,) = export["artifacts"].values()
        assert text.count("a long story.") == 200
        assert "attachment" in response.headers["content-disposition"]


@in_loop
async def test_events_come_in_pages_as_they_are_stored(one_server: RedisServer, tmp_path: Path) -> None:
    async with served(one_server, tmp_path, [clerk]) as api:
        run_id = await api.submit()
        await api.drive(run_id, call("look", what="sky"), answer("blue"))
        events = f"/v1/runs/{run_id}/events"
        whole = (await api.http.get(events)).json()
        assert whole["next"] is None and whole["items"][-1]["type"] == "run.succeeded"
        first = (await api.http.get(events, params={"limit": 2})).json()
        rest = (await api.http.get(events, params={"after": first["next"]})).json()
        assert first["items"] + rest["items"] == whole["items"]
        stored = await api.store.journal.read(run_id)
        assert [each["id"] for each in whole["items"]] == [each.id for each in stored]
        assert whole["items"][0]["data"]["task"] == "hello"
        assert (await api.http.get(events, params={"after": "soon"})).status_code == 422


PATHS = (
    ("GET", ""), ("GET", "/events"), ("GET", "/export"), ("GET", "/artifacts/x"), ("POST", "/cancel"),
    ("POST", "/fork"),
)  # fmt: skip


@in_loop
async def test_what_belongs_to_another_tenant_is_not_there_and_nobody_can_tell(
    one_server: RedisServer, tmp_path: Path
) -> None:
    """T26: the answer differs from that about a missing run in the ids that were asked for, and in nothing else."""
    async with served(one_server, tmp_path, [clerk]) as api:
        mine, yours = await api.key("runs", tenant="mine"), await api.key("runs", tenant="yours")
        response = await api.http.post("/v1/runs", json=RUN, headers=mine)
        run_id = response.json()["id"]
        await api.drive(run_id, call("read_book", title="Emma"), answer("secret"))
        missing = run_id[:-4] + "0000"
        for method, path in PATHS:
            body = {"json": {}} if method == "POST" else {}
            for accept in ("application/json", "text/event-stream"):
                headers = yours | {"accept": accept, "x-request-id": "same"}
                seen = await api.http.request(method, f"/v1/runs/{run_id}{path}", headers=headers, **body)
                gone = await api.http.request(method, f"/v1/runs/{missing}{path}", headers=headers, **body)
                assert (seen.status_code, gone.status_code) == (404, 404)
                assert seen.text.replace(run_id, "?") == gone.text.replace(missing, "?")
                assert {**seen.headers, "date": ""} == {**gone.headers, "date": ""}
        assert (await api.http.get("/v1/runs", headers=yours)).json()["items"] == []
        state = await api.http.get(f"/v1/runs/{run_id}", headers=mine)
        assert state.json()["status"] == "succeeded"


@pytest.mark.parametrize(
    "run_id", ["*", "{s00}", "x" * 3000, "%0A", "..%2F", "%7Bs00%7D:run", "0" * 34, "99" + "0" * 32, "%00", "%ff"]
)
@in_loop
async def test_ids_that_are_none_are_not_there(one_server: RedisServer, tmp_path: Path, run_id: str) -> None:
    async with served(one_server, tmp_path, [clerk]) as api:
        for method, path in PATHS:
            body = {"json": {}} if method == "POST" else {}
            response = await api.http.request(method, f"/v1/runs/{run_id}{path}", **body)
            assert response.status_code == 404, response.text
            assert len(response.content) < 2000
            assert json.loads(response.content)["status"] == 404
