"""Approvals, threads, schedules and agents: each method is one request, and its answer is typed."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from loopwright.api.models import Approval
from loopwright.client import AsyncClient, Client

from ..inference.fake_server import Reply, Seen
from .api_script import NEVER, ScriptedApi, gives, run

APPROVAL = Approval(
    id="r1:1.1", run_id="r1", call_id="1.1", kind="approval", agent="shop", tool="pay", arguments='{"amount":3}',
    digest="d", asked_at=NEVER,  # type: ignore[arg-type]
)  # fmt: skip
SCHEDULE = {"id": "s1", "cron": "* * * * *", "timezone": "UTC", "enabled": True, "run": {}}
THREAD = {"id": "t1", "created_at": NEVER, "updated_at": NEVER}
MESSAGE = {"id": "1-0", "role": "user", "text": "x", "run_id": "r", "at": NEVER}
LETTER = {"id": "w", "run_id": "r", "url": "u", "type": "run.failed", "at": NEVER, "attempts": 10, "error": "410"}
AGENT = {
    "name": "desk", "hash": "h", "instructions": "", "model": None, "limits": {}, "output_schema": {}, "tools": [],
}  # fmt: skip
DECIDED = {"run_id": "r1", "call_id": "1.1", "decision": "approve", "by": "k"}

ANSWERS: dict[tuple[str, str], Any] = {
    ("GET", "/v1/approvals"): {"items": [APPROVAL.model_dump(mode="json")]},
    ("POST", "/v1/approvals/r1%3A1.1"): DECIDED,
    ("POST", "/v1/threads"): THREAD,
    ("GET", "/v1/threads"): {"items": [THREAD]},
    ("GET", "/v1/threads/t1"): THREAD,
    ("GET", "/v1/threads/t1/messages"): {"items": [MESSAGE]},
    ("DELETE", "/v1/threads/t1"): None,
    ("POST", "/v1/schedules"): SCHEDULE,
    ("GET", "/v1/schedules"): {"items": [SCHEDULE]},
    ("GET", "/v1/schedules/s1"): SCHEDULE,
    ("PATCH", "/v1/schedules/s1"): SCHEDULE,
    ("POST", "/v1/schedules/s1/trigger"): run(),
    ("GET", "/v1/schedules/s1/history"): {"items": [{"at": NEVER, "run_id": "r1"}]},
    ("DELETE", "/v1/schedules/s1"): None,
    ("GET", "/v1/webhooks/secret"): {"secret": "whsec_x"},
    ("POST", "/v1/webhooks/secret"): {"secret": "whsec_y"},
    ("GET", "/v1/webhooks/dead-letters"): {"items": [LETTER]},
    ("GET", "/v1/agents"): {"items": [AGENT]},
    ("GET", "/v1/agents/desk"): AGENT,
    ("GET", "/v1/runs/r1/export"): {"run": run(), "messages": [], "events": []},
    ("GET", "/v1/runs/r1/events"): {"items": [{"id": "1-0", "type": "run.noticed", "at": NEVER, "data": {}}]},
    ("GET", "/healthz"): {"version": "0.1.0"},
    ("GET", "/readyz"): {"durability": "everysec", "redis": "7.2", "workers": 1, "slots": 256, "busy": 0},
}  # fmt: skip

CALLS: list[tuple[str, tuple[Any, ...], dict[str, Any], str, str, Any]] = [
    ("approvals.list", (), {}, "GET", "/v1/approvals", None),
    ("approvals.approve", (APPROVAL,), {}, "POST", "/v1/approvals/r1%3A1.1", {"decision": "approve", "digest": "d"}),
    (
        "approvals.edit", (APPROVAL, {"amount": 2}), {}, "POST", "/v1/approvals/r1%3A1.1",
        {"decision": "edit", "digest": "d", "arguments": {"amount": 2}},
    ),
    (
        "approvals.reject", (APPROVAL, "too much"), {}, "POST", "/v1/approvals/r1%3A1.1",
        {"decision": "reject", "digest": "d", "reason": "too much"},
    ),
    (
        "approvals.settle", (APPROVAL,), {"result": "paid"}, "POST", "/v1/approvals/r1%3A1.1",
        {"decision": "happened", "digest": "d", "result": "paid", "reason": ""},
    ),
    (
        "approvals.settle", (APPROVAL,), {"result": None}, "POST", "/v1/approvals/r1%3A1.1",
        {"decision": "did_not_happen", "digest": "d", "reason": ""},
    ),
    ("threads.create", ("t1",), {"metadata": {"a": 1}}, "POST", "/v1/threads", {"id": "t1", "metadata": {"a": 1}}),
    ("threads.list", (), {}, "GET", "/v1/threads", None),
    ("threads.get", ("t1",), {}, "GET", "/v1/threads/t1", None),
    ("threads.messages", ("t1",), {}, "GET", "/v1/threads/t1/messages", None),
    ("threads.delete", ("t1",), {}, "DELETE", "/v1/threads/t1", None),
    (
        "schedules.create", ("0 9 * * *", "desk", "go"), {"timezone": "Europe/Berlin", "priority": "low"},
        "POST", "/v1/schedules",
        {
            "cron": "0 9 * * *", "timezone": "Europe/Berlin", "enabled": True,
            "run": {"agent": "desk", "task": "go", "priority": "low"},
        },
    ),
    ("schedules.list", (), {}, "GET", "/v1/schedules", None),
    ("schedules.get", ("s1",), {}, "GET", "/v1/schedules/s1", None),
    ("schedules.change", ("s1",), {"enabled": False}, "PATCH", "/v1/schedules/s1", {"enabled": False}),
    ("schedules.trigger", ("s1",), {}, "POST", "/v1/schedules/s1/trigger", None),
    ("schedules.history", ("s1",), {}, "GET", "/v1/schedules/s1/history", None),
    ("schedules.delete", ("s1",), {}, "DELETE", "/v1/schedules/s1", None),
    ("webhooks.secret", (), {}, "GET", "/v1/webhooks/secret", None),
    ("webhooks.rotate", (), {}, "POST", "/v1/webhooks/secret", None),
    ("webhooks.dead_letters", (), {}, "GET", "/v1/webhooks/dead-letters", None),
    ("agents.list", (), {}, "GET", "/v1/agents", None),
    ("agents.get", ("desk",), {}, "GET", "/v1/agents/desk", None),
    ("export", ("r1",), {}, "GET", "/v1/runs/r1/export", None),
    ("journal", ("r1",), {}, "GET", "/v1/runs/r1/events", None),
    ("health", (), {}, "GET", "/healthz", None),
    ("ready", (), {}, "GET", "/readyz", None),
]  # fmt: skip


def plays(seen: Seen) -> Reply:
    return gives(ANSWERS[seen.method, seen.path.partition("?")[0]])


def method(client: Any, name: str) -> Any:
    for part in name.split("."):
        client = getattr(client, part)
    return client


def blocking(url: str, name: str, args: tuple[Any, ...], more: dict[str, Any]) -> Any:
    with Client(url) as client:
        found = method(client, name)(*args, **more)
        return list(found) if isinstance(found, Iterator) else found


def asynchronous(url: str, name: str, args: tuple[Any, ...], more: dict[str, Any]) -> Any:
    async def work() -> Any:
        async with AsyncClient(url) as client:
            found = method(client, name)(*args, **more)
            return [each async for each in found] if isinstance(found, AsyncIterator) else await found

    return asyncio.run(work())


@pytest.mark.parametrize(("name", "args", "more", "verb", "path", "body"), CALLS)
def test_a_method_is_one_request_and_its_answer_is_typed(
    name: str, args: tuple[Any, ...], more: dict[str, Any], verb: str, path: str, body: Any
) -> None:
    with ScriptedApi(plays) as api:
        results = [do(api.url, name, args, more) for do in (blocking, asynchronous)]
    assert results[0] == results[1]
    for seen in api.requests:
        assert (seen.method, seen.path.partition("?")[0]) == (verb, path)
        assert body is None or seen.body == body
    first = results[0][0] if isinstance(results[0], list) else results[0]
    assert verb == "DELETE" or type(first).__module__ == "loopwright.api.models"
