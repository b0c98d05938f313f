"""The client against the real API on a real Redis: what it asks for is what the server takes."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from loopwright import Agent, AsyncClient, tool
from loopwright.errors import (
    AgentNotFound,
    ApprovalVoid,
    IdempotencyConflict,
    RequestInvalid,
    ScheduleNotFound,
    ScopeMissing,
    ThreadBusy,
    ThreadNotFound,
    Unauthorized,
)
from loopwright.testing import answer, call

from ..api.served import Served, served
from ..servers import RedisServer, redis_server


@tool(approval=True, effect="keyed")
def pay(amount: int) -> str:
    """Pay."""
    return f"paid {amount}"


CLERK = Agent(name="clerk", instructions="Help.")
PAYER = Agent(name="payer", instructions="Pay.", tools=[pay])


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with redis_server("system", tmp_path_factory.mktemp("redis")) as running:
        yield running


@asynccontextmanager
async def both(redis: RedisServer, tmp_path: Path) -> AsyncIterator[tuple[Served, AsyncClient]]:
    """Serve the API, and open a client of it."""
    async with served(redis, tmp_path, [CLERK, PAYER]) as api, AsyncClient(api.url, patience_s=2.0) as client:
        yield api, client


def test_a_run_from_submission_to_export(redis: RedisServer, tmp_path: Path) -> None:
    async def work() -> None:
        async with both(redis, tmp_path) as (api, client):
            run = await client.submit("clerk", "hello", metadata={"a": [1]}, limits={"max_steps": 3}, priority="low")
            assert (run.status, run.task, run.metadata, run.priority) == ("queued", "hello", {"a": [1]}, "low")
            waiting = asyncio.create_task(client.wait(run.id, timeout_s=20))
            live = asyncio.create_task(all_of(client.events(run.id)))
            await api.drive(run.id, answer("hi"))
            assert (await waiting).output == "hi"
            so_far = [event.id async for event in client.journal(run.id, page=2)]
            assert [event.id for event in await live] == so_far
            assert [event.id async for event in client.events(run.id, after=so_far[1])] == so_far[2:]
            assert [each.id async for each in client.list(status="succeeded", agent="clerk", page=1)] == [run.id]
            exported = await client.export(run.id)
            assert exported.run.output == "hi"
            assert [event.id for event in exported.events] == so_far
            forked = await client.fork(run.id, step=0, task="again")
            assert (forked.task, forked.forked_from) == ("again", run.id)
            assert (await client.cancel(forked.id, reason="enough")).id == forked.id

    asyncio.run(work())


async def all_of(items: AsyncIterator[object]) -> list[object]:
    return [each async for each in items]


def test_a_key_makes_one_run_of_many_submissions(redis: RedisServer, tmp_path: Path) -> None:
    async def work() -> None:
        async with both(redis, tmp_path) as (_, client):
            runs = await asyncio.gather(*(client.submit("clerk", "x", idempotency_key="k") for _ in range(10)))
            assert len({run.id for run in runs}) == 1
            with pytest.raises(IdempotencyConflict):
                await client.submit("clerk", "y", idempotency_key="k")
            tasks = [{"agent": "clerk", "task": str(number)} for number in range(30)] + [{"agent": "no", "task": "x"}]
            first = await client.batch(tasks, idempotency_key="b")
            assert [item.id for item in await client.batch(tasks, idempotency_key="b")] == [item.id for item in first]
            assert first[30].problem is not None
            assert first[30].problem.type.endswith("agent_not_found")
            assert len([each async for each in client.list()]) == 31

    asyncio.run(work())


def test_a_call_is_approved_edited_or_found_changed(redis: RedisServer, tmp_path: Path) -> None:
    async def work() -> None:
        async with both(redis, tmp_path) as (api, client):
            run = await client.submit("payer", "pay 3")
            await api.drive(run.id, call("pay", amount=3))
            assert (await client.wait(run.id, timeout_s=20)).status == "waiting"
            (approval,) = [each async for each in client.approvals.list()]
            assert approval.arguments == '{"amount":3}'
            stale = approval.model_copy(update={"digest": "0" * 64})
            with pytest.raises(ApprovalVoid):
                await client.approvals.approve(stale)
            decided = await client.approvals.edit(approval, {"amount": 2})
            assert decided.arguments == '{"amount":2}'
            assert await client.approvals.edit(approval, {"amount": 2}) == decided
            await api.drive(run.id, answer("done"))
            events = [event async for event in client.events(run.id)]
            (finished,) = [event.data for event in events if event.type == "call.finished"]
            assert "paid 2" in str(finished["text"])

    asyncio.run(work())


def test_conversations_and_schedules(redis: RedisServer, tmp_path: Path) -> None:
    async def work() -> None:
        async with both(redis, tmp_path) as (api, client):
            thread = await client.threads.create("t1", metadata={"a": 1})
            assert thread.id == "t1"
            run = await client.submit("clerk", "hello", thread_id="t1")
            with pytest.raises(ThreadBusy):
                await client.submit("clerk", "again", thread_id="t1")
            await api.drive(run.id, answer("hi"))
            assert [each.text async for each in client.threads.messages("t1", page=1)] == ["hello", "hi"]
            assert [each.id async for each in client.threads.list()] == ["t1"]
            await client.threads.delete("t1")
            with pytest.raises(ThreadNotFound):
                await client.threads.get("t1")
            made = await client.schedules.create("0 9 * * mon-fri", "clerk", "report", timezone="Europe/Berlin")
            assert made.next_at is not None
            assert not (await client.schedules.change(made.id, enabled=False)).enabled
            fired = await client.schedules.trigger(made.id)
            assert [each.run_id async for each in client.schedules.history(made.id)] == [fired.id]
            assert [each.id async for each in client.schedules.list()] == [made.id]
            await client.schedules.delete(made.id)
            with pytest.raises(ScheduleNotFound):
                await client.schedules.get(made.id)

    asyncio.run(work())


def test_what_the_server_is_and_knows(redis: RedisServer, tmp_path: Path) -> None:
    async def work() -> None:
        async with both(redis, tmp_path) as (_, client):
            assert [each.name async for each in client.agents.list()] == ["clerk", "payer"]
            assert (await client.agents.get("payer")).tools[0].approval
            assert (await client.health()).status == "ok"
            assert (await client.ready()).durability == "everysec"
            old = await client.webhooks.secret()
            assert (await client.webhooks.rotate()).previous == old.secret
            assert [each async for each in client.webhooks.dead_letters()] == []

    asyncio.run(work())


def test_a_server_refuses_in_our_own_words(redis: RedisServer, tmp_path: Path) -> None:
    async def work() -> None:
        async with both(redis, tmp_path) as (api, client):
            with pytest.raises(AgentNotFound) as missing:
                await client.submit("nobody", "x")
            assert missing.value.known == "clerk, payer"
            with pytest.raises(RequestInvalid) as invalid:
                await client.submit("clerk", "x", priority="urgent")  # type: ignore[arg-type]
            assert any("priority" in each for each in invalid.value.problems)
            shown = await api.key("read")
            with pytest.raises(Unauthorized):
                await wait_until_keys_count(client)
            async with AsyncClient(api.url, shown["authorization"].removeprefix("Bearer ")) as reader:
                assert [each.name async for each in reader.agents.list()] == ["clerk", "payer"]
                with pytest.raises(ScopeMissing):
                    await reader.submit("clerk", "x")

    asyncio.run(work())


async def wait_until_keys_count(client: AsyncClient) -> None:
    """Ask until the server, which looks for keys every few seconds, asks for one."""
    async with asyncio.timeout(20):
        while True:
            await all_of(client.agents.list())
            await asyncio.sleep(0.1)
