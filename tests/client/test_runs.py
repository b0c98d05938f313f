"""Submitting, waiting and batches, against a server that plays its part in every awkward way."""

import asyncio
import inspect
import json
import time
from typing import Any

import pytest

from loopwright.api.models import RunLimits, RunRequest
from loopwright.client import AsyncClient, Client
from loopwright.client.runs import CHUNK_RUNS
from loopwright.errors import ApiUnavailable, RunNotFound, WaitTimedOut

from ..inference.fake_server import Reply, Seen
from .api_script import ScriptedApi, drops, fails, gives, run, stored
from .conftest import Do, blocking


def test_a_run_is_waited_for_in_the_server(do: Do) -> None:
    with ScriptedApi(gives(run(status="running")), gives(run(status="succeeded", output="4"))) as api:
        assert do(api.url, "wait", "r1").output == "4"
    assert [seen.headers.get("prefer") for seen in api.requests] == ["wait=30"] * 2


def test_waiting_outlives_a_restart_of_the_server(do: Do) -> None:
    with ScriptedApi(drops(), fails(503), drops(), gives(run(status="failed", reason="loop"))) as api:
        assert do(api.url, "wait", "r1").reason == "loop"


@pytest.mark.parametrize(("reason", "looks"), [("approval", 1), ("in_doubt", 1), ("tool", 2), ("timer", 2)])
def test_a_run_that_waits_for_a_person_is_waited_for_no_longer(reason: str, looks: int) -> None:
    waits = gives(run(status="waiting", reason=reason))
    with ScriptedApi(waits, gives(run(status="succeeded"))) as api:
        blocking(api.url, "wait", "r1")
    assert len(api.requests) == looks


def test_a_run_whose_question_was_answered_is_waited_for(do: Do) -> None:
    answered = run(status="waiting", reason="approval", waiting={"reason": "approval", "calls": []})
    with ScriptedApi(gives(answered), gives(run(status="succeeded"))) as api:
        assert do(api.url, "wait", "r1").status == "succeeded"


def test_waiting_ends_when_its_time_is_over_and_names_the_run(do: Do) -> None:
    began = time.monotonic()
    with ScriptedApi(gives(run(status="running"))) as api, pytest.raises(WaitTimedOut) as caught:
        do(api.url, "wait", "r1", timeout_s=0.5)
    assert caught.value.run_id == "r1"
    assert "running after 0.5 s" in str(caught.value)
    assert 0.4 < time.monotonic() - began < 5
    assert len(api.requests) < 12, "a server that does not hold answers back is not flooded"


def test_who_has_little_time_does_not_wait_for_a_server_that_is_away(do: Do) -> None:
    began = time.monotonic()
    with ScriptedApi(fails(503)) as api, pytest.raises(ApiUnavailable):
        do(api.url, "wait", "r1", timeout_s=0.5, patience_s=60.0)
    assert time.monotonic() - began < 5


def test_the_server_holds_an_answer_no_longer_than_there_is_time() -> None:
    with ScriptedApi(gives(run(status="running")), gives(run(status="succeeded"))) as api:
        blocking(api.url, "wait", "r1", timeout_s=7)
    assert api.requests[0].headers["prefer"] in ("wait=6", "wait=7")


def test_a_task_is_run_with_one_request_when_it_is_short(do: Do) -> None:
    with ScriptedApi(gives(run(status="succeeded", output="4"))) as api:
        assert do(api.url, "run", "desk", "2+2").output == "4"
    (seen,) = api.requests
    assert seen.body == {"agent": "desk", "task": "2+2"}
    assert seen.headers["prefer"] == "wait=30"


def test_a_long_run_is_waited_for_after_its_submission(do: Do) -> None:
    with ScriptedApi(gives(run(), 202), gives(run(status="running")), gives(run(status="succeeded"))) as api:
        assert do(api.url, "run", "desk", "2+2", thread_id="t1").status == "succeeded"
    assert [seen.method for seen in api.requests] == ["POST", "GET", "GET"]


def test_options_travel_as_the_api_names_them() -> None:
    limits = RunLimits(max_steps=3)
    with ScriptedApi(gives(run())) as api:
        blocking(api.url, "submit", "desk", {"q": [1, "ü"]}, limits=limits, priority="high", metadata={"a": 1})
    assert api.requests[0].body == {
        "agent": "desk", "task": {"q": [1, "ü"]}, "limits": {"max_steps": 3}, "priority": "high", "metadata": {"a": 1},
    }  # fmt: skip


def test_a_fork_and_a_cancellation_say_what_they_want(do: Do) -> None:
    with ScriptedApi(gives(run("r2"))) as api:
        assert do(api.url, "fork", "r1", step=2, task="again").id == "r2"
        do(api.url, "cancel", "r1", reason="enough")
    assert api.requests[0].path == "/v1/runs/r1/fork"
    assert api.requests[0].body == {"step": 2, "task": "again"}
    assert api.requests[0].headers["idempotency-key"]
    assert api.requests[1].body == {"reason": "enough"}


def accepts(seen: Seen) -> Reply:
    """Answer a batch: every task by its own run, but refuse those that say `bad`."""
    problem = {"type": "x", "title": "No", "status": 422, "detail": "bad"}
    return gives(
        {
            "items": [
                {"index": at, "problem": problem}
                if each["task"] == "bad"
                else {"index": at, "id": f"run-{each['task']}"}
                for at, each in enumerate(seen.body["runs"])
            ]
        }
    )


def test_a_batch_goes_in_chunks_and_tells_how_far_it_is(do: Do) -> None:
    told: list[tuple[int, int]] = []
    tasks: list[Any] = [{"agent": "desk", "task": str(number)} for number in range(2 * CHUNK_RUNS + 1)]
    tasks[1500] = RunRequest(agent="desk", task="bad")
    with ScriptedApi(accepts) as api:
        items = do(api.url, "batch", tasks, progress=lambda *at: told.append(at))
    assert told == [(1000, 2001), (2000, 2001), (2001, 2001)]
    assert [item.index for item in items] == list(range(2001))
    assert items[2000].id == "run-2000"
    assert items[1500].id is None
    assert items[1500].problem.detail == "bad"


def test_a_batch_that_is_sent_again_uses_the_same_keys_for_the_same_tasks(do: Do) -> None:
    tasks = [{"agent": "desk", "task": "x" * 200_000} for _ in range(10)]
    with ScriptedApi(drops(), accepts) as api:
        for _ in range(2):
            do(api.url, "batch", iter(tasks), idempotency_key="mine")
    assert all(len(json.dumps(seen.body)) <= 1_000_000 for seen in api.requests)
    sent = [(seen.headers["idempotency-key"], len(seen.body["runs"])) for seen in api.requests]
    assert sent == [("mine-0", 4), *[("mine-0", 4), ("mine-1", 4), ("mine-2", 2)] * 2]


def test_an_empty_batch_asks_nothing(do: Do) -> None:
    with ScriptedApi(accepts) as api:
        assert do(api.url, "batch", []) == []
    assert api.requests == []


def test_many_runs_are_waited_for_in_one_call(do: Do) -> None:
    told: list[tuple[int, int]] = []
    with ScriptedApi(lambda seen: gives(run(seen.path.split("/")[-1], status="succeeded"))) as api:
        runs = do(api.url, "wait_all", ["a", "b"], progress=lambda *at: told.append(at))
    assert [each.id for each in runs] == ["a", "b"]
    assert told == [(1, 2), (2, 2)]


PAGES = {
    None: {"items": [run("r3"), run("r2")], "next": "c1"},
    "c1": {"items": [run("r1")], "next": None},
}


def in_pages(seen: Seen) -> Reply:
    query = dict(part.split("=") for part in seen.path.partition("?")[2].split("&"))
    return gives(PAGES[query.get("cursor")])


def test_a_list_asks_for_its_pages_on_the_way() -> None:
    with ScriptedApi(in_pages) as api, Client(api.url) as client:
        listed = client.list(status="succeeded", agent="desk", page=2)
        assert next(listed).id == "r3"
        assert len(api.requests) == 1
        assert [each.id for each in listed] == ["r2", "r1"]
    assert api.requests[0].path == "/v1/runs?status=succeeded&agent=desk&limit=2"


def test_events_so_far_go_on_behind_the_last_one_of_a_page() -> None:
    pages = [{"items": [stored(1), stored(2)], "next": stored(2)["id"]}, {"items": [stored(3)]}]
    with ScriptedApi(*map(gives, pages)) as api, Client(api.url) as client:
        assert [event.id for event in client.journal("r1", after="1-0", page=2)] == [stored(n)["id"] for n in (1, 2, 3)]
    assert api.requests[0].path.endswith("?after=1-0&limit=2")
    assert api.requests[1].path.endswith(f"?after={stored(2)['id']}&limit=2")


def test_a_list_is_looped_over_asynchronously_too() -> None:
    async def work(url: str) -> list[str]:
        async with AsyncClient(url) as client:
            return [each.id async for each in client.list()]

    with ScriptedApi(in_pages) as api:
        assert asyncio.run(work(api.url)) == ["r3", "r2", "r1"]


@pytest.mark.parametrize("client", [Client, AsyncClient])
def test_every_method_says_what_it_does_and_takes(client: type) -> None:
    for name, found in inspect.getmembers(client):
        if not name.startswith("_"):
            assert inspect.getdoc(found), name
    bound = client("http://127.0.0.1:9").submit  # type: ignore[attr-defined]
    assert list(inspect.signature(bound).parameters) == ["agent", "task", "idempotency_key", "options"]


def public(of: object) -> set[str]:
    return {name for name in dir(of) if not name.startswith("_")} - {"close", "aclose"}


def test_both_colours_offer_the_same() -> None:
    one, other = Client("http://127.0.0.1:9"), AsyncClient("http://127.0.0.1:9")
    assert public(one) == public(other)
    for group in ("approvals", "threads", "schedules", "agents"):
        assert public(getattr(one, group)) == public(getattr(other, group))


def test_a_missing_run_is_missing_in_the_list_of_those_waited_for(do: Do) -> None:
    with ScriptedApi(fails(404, "run_not_found", facts={"run_id": "b"})) as api, pytest.raises(RunNotFound):
        do(api.url, "wait_all", ["b"])
