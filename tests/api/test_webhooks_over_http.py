"""Webhooks from the request to the receiver: a run ends or waits, its receiver is told, and can check who tells it."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks import Webhook

from loopwright import Agent, tool
from loopwright.testing import ScriptedEndpoint, answer, call
from loopwright.workers.webhooks import Dispatcher, run_webhooks

from ..memory.support import eventually, in_loop
from ..servers import RedisServer
from ..workers.receiver import receiver
from .served import served
from .worker_inside import Parrot, working

CLERK = Agent("clerk", "Answer.")


@tool(approval=True)
async def pay(amount: int) -> str:
    """Pay somebody."""
    return f"paid {amount}"


@in_loop
async def test_the_end_of_a_run_is_told_to_its_receiver(one_server: RedisServer, tmp_path: Path) -> None:
    agent = Agent("clerk", "Answer.", model=Parrot())
    with receiver() as hook:
        async with served(one_server, tmp_path, [agent], webhook_allow=hook.allow) as api, working(api):
            stop = asyncio.Event()
            sending = asyncio.create_task(run_webhooks(api.store, api.service.settings, stop))
            run_id = await api.submit(webhook=hook.url, metadata={"order": 5})

            async def is_told() -> bool:
                return bool(hook.received)

            await eventually(is_told)
            secret = (await api.http.get("/v1/webhooks/secret")).json()["secret"]
            stop.set()
            await asyncio.wait_for(sending, 10)
    (got,) = hook.received
    told = Webhook(secret).verify(got.body, got.headers)
    assert told["type"] == "run.succeeded"
    assert told["data"] == {
        "id": run_id, "agent": "clerk", "status": "succeeded", "reason": None, "thread_id": None,
        "metadata": {"order": 5},
    }  # fmt: skip


@in_loop
async def test_a_run_that_waits_for_a_person_tells_so_and_then_its_end(one_server: RedisServer, tmp_path: Path) -> None:
    model = ScriptedEndpoint([call("pay", amount=3), answer("done")])
    with receiver() as hook:
        agent = Agent("payer", "Pay.", tools=[pay], model=model)
        async with served(one_server, tmp_path, [agent], webhook_allow=hook.allow) as api, working(api):
            stop = asyncio.Event()
            outbox, settings = api.store.outbox, api.service.settings
            sending = asyncio.create_task(Dispatcher(outbox, api.store.journal, settings, poll_s=0.02).run(stop))
            run_id = await api.submit(agent="payer", webhook=hook.url)

            async def asked() -> Any:
                return (await api.http.get("/v1/approvals")).json()["items"]

            (approval,) = await eventually(asked)
            decision = {"decision": "approve", "digest": approval["digest"]}
            assert (await api.http.post(f"/v1/approvals/{approval['id']}", json=decision)).status_code == 200

            async def all_is_told() -> bool:
                return len(hook.received) == 2

            await eventually(all_is_told)
            stop.set()
            await asyncio.wait_for(sending, 10)
            secret = (await api.http.get("/v1/webhooks/secret")).json()["secret"]
    told = [Webhook(secret).verify(each.body, each.headers) for each in hook.received]
    assert [each["type"] for each in told] == ["run.waiting", "run.succeeded"]
    assert told[0]["data"]["reason"] == "approval"
    assert {each["data"]["id"] for each in told} == {run_id}


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:9/", "http://localhost/", "https://10.0.0.1/", "https://u:p@a.example/"]
)
def test_a_webhook_that_leads_into_the_house_is_refused_at_submission(
    one_server: RedisServer, tmp_path: Path, url: str
) -> None:
    async def ask() -> None:
        async with served(one_server, tmp_path, [CLERK]) as api:
            refused = await api.http.post("/v1/runs", json={"agent": "clerk", "task": "x", "webhook": url})
            assert refused.status_code == 422
            assert refused.json()["type"] == "urn:loopwright:problem:webhook_refused"
            assert (await api.http.get("/v1/runs")).json()["items"] == []

    asyncio.run(ask())


@in_loop
async def test_the_secret_is_shown_and_rotated_for_admins_alone(one_server: RedisServer, tmp_path: Path) -> None:
    async with served(one_server, tmp_path) as api:
        admin, other = await api.key("admin", tenant="a"), await api.key("admin", tenant="b")
        clerk = await api.key("runs", "read", "approve", tenant="a")
        path = "/v1/webhooks/secret"
        shown = await api.http.get(path, headers=admin)
        assert shown.headers["cache-control"] == "no-store"
        first = shown.json()
        assert first["secret"].startswith("whsec_") and first["previous"] is None
        rotated = (await api.http.post(path, headers=admin)).json()
        assert rotated["previous"] == first["secret"] != rotated["secret"]
        assert rotated["previous_until"] is not None
        assert (await api.http.get(path, headers=admin)).json() == rotated
        assert (await api.http.get(path, headers=other)).json()["secret"] not in (first["secret"], rotated["secret"])
        for method in ("GET", "POST"):
            assert (await api.http.request(method, path, headers=clerk)).status_code == 403


@in_loop
async def test_what_was_given_up_is_listed(one_server: RedisServer, tmp_path: Path) -> None:
    with receiver(lambda _: 500) as hook:
        async with served(one_server, tmp_path, [CLERK], webhook_allow=hook.allow) as api:
            run_id = await api.submit(webhook=hook.url)
            await api.drive(run_id, answer("done"))
            stop = asyncio.Event()
            outbox, settings = api.store.outbox, api.service.settings
            dispatcher = Dispatcher(outbox, api.store.journal, settings, delays_s=(0.01,), poll_s=0.02)
            sending = asyncio.create_task(dispatcher.run(stop))

            async def listed() -> Any:
                return (await api.http.get("/v1/webhooks/dead-letters")).json()["items"]

            (dead,) = await eventually(listed)
            stop.set()
            await sending
            stranger = await api.key("read", tenant="b")
            assert (await api.http.get("/v1/webhooks/dead-letters", headers=stranger)).json()["items"] == []
    assert (dead["run_id"], dead["url"], dead["type"]) == (run_id, hook.url, "run.succeeded")
    assert (dead["attempts"], dead["error"]) == (2, "answered with status 500")
    assert {each.id for each in hook.received} == {dead["id"]}
