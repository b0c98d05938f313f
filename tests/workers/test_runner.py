"""The runner on a real Redis, in the test's own loop: which model, which agent, which end, and who is rung for."""

import asyncio
import json
from base64 import b64decode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from loopwright import Agent, Limits, tool
from loopwright.agents.registry import Registry
from loopwright.memory.journal.ids import new_run_id
from loopwright.memory.store import Store, open_store
from loopwright.planner import events as ev
from loopwright.planner.state import RunState, fold
from loopwright.settings import Settings
from loopwright.testing import ScriptedEndpoint, answer, call
from loopwright.workers.doorbell import QUEUES, Doorbell
from loopwright.workers.runner import Runner

from ..inference.fake_server import FakeServer, Reply, Seen, completes, nobody_listens, says
from ..memory.support import in_loop
from ..servers import RedisServer


@tool(effect="read")
async def lookup(key: str) -> str:
    """Return what is stored under a key."""
    return f"value of {key}"


@tool(effect="keyed")
async def slow() -> str:
    """Take long."""
    await asyncio.sleep(3600)
    return ""


def scripted(*replies: Any, name: str = "clerk", tools: tuple[Any, ...] = (lookup,), **options: Any) -> Agent[Any]:
    """Return an agent with a model of its own that gives these replies."""
    return Agent(
        name=name,
        instructions="Answer.",
        tools=list(tools),
        limits=Limits(),
        model=ScriptedEndpoint(replies),
        **options,
    )


class Scene:
    """A runner and what a test needs to feed it."""

    def __init__(self, store: Store, settings: Settings, *agents: Agent[Any]) -> None:
        self.store = store
        self.doorbell = Doorbell(store.client)
        self.agent = agents[0]
        self.runner = Runner(store, Registry(agents), settings, self.doorbell, name="w1")

    async def submit(self, **fields: Any) -> str:
        """Create a run."""
        run_id = new_run_id("acme")
        given = {"agent": self.agent.name, "agent_hash": self.agent.hash, "task": "t", **fields}
        await self.store.journal.create(ev.RunCreated(run_id, "acme", **given), due_in_s=60)
        return run_id

    async def state(self, run_id: str) -> RunState:
        """Return a run's state."""
        return fold([each.event for each in await self.store.journal.read(run_id)])

    async def rung(self) -> list[tuple[str, str]]:
        """Return which runs were rung for, with the queue."""
        await self.doorbell.aclose()
        client: Any = self.store.client
        found = []
        for queue in QUEUES:
            for raw in await client.lrange(queue, 0, -1):
                found.append((json.loads(b64decode(json.loads(raw)["body"]))[0][0], queue.split(".")[1]))
        return found

    async def until(self, run_id: str, kind: str) -> None:
        """Wait until something has happened to a run."""
        async with asyncio.timeout(20):
            while kind not in [each.event.type for each in await self.store.journal.read(run_id)]:
                await asyncio.sleep(0.005)


@asynccontextmanager
async def scene(red: RedisServer, *agents: Agent[Any], **settings: Any) -> AsyncIterator[Scene]:
    known = Settings(redis_url=red.url, **settings)
    async with open_store(known) as store:
        opened = Scene(store, known, *agents)
        try:
            yield opened
        finally:
            await opened.runner.drain(0)
            await opened.doorbell.aclose()
            await opened.runner.aclose()


@in_loop
async def test_a_wake_up_drives_a_run_and_a_second_one_changes_nothing(red: RedisServer) -> None:
    async with scene(red, scripted(call("lookup", key="a"), answer("x"))) as here:
        run_id = await here.submit()
        await here.runner.wake(run_id)
        state = await here.state(run_id)
        assert (state.status, state.attempts) == ("succeeded", 1)
        before = await here.store.journal.read(run_id)
        await asyncio.gather(*(here.runner.wake(run_id) for _ in range(5)))
        assert await here.store.journal.read(run_id) == before
        assert await here.rung() == []
        assert here.runner.busy == 0


@in_loop
async def test_wake_ups_for_runs_that_are_not_there_or_no_run_ids_are_harmless(red: RedisServer) -> None:
    async with scene(red, scripted()) as here:
        await here.runner.wake(new_run_id("acme"))
        await here.runner.wake("nonsense {s01}:due\n*")


@in_loop
async def test_a_run_asks_the_model_it_names_and_endpoints_are_opened_once(red: RedisServer) -> None:
    asked: list[str] = []

    def reply(seen: Seen) -> Reply:
        if not seen.body.get("stream"):
            return completes("x")
        asked.append(seen.body["model"])
        return says(answer("x"))

    plain = Agent(name="plain", instructions="Answer.", tools=[lookup], limits=Limits())
    named = Agent(name="named", instructions="Answer.", tools=[lookup], limits=Limits(), model="its-own")
    with FakeServer(reply) as model:
        async with scene(red, plain, named, model_url=model.url, model="usual") as here:
            for fields in (
                {"agent": "plain", "agent_hash": plain.hash},
                {"agent": "plain", "agent_hash": plain.hash, "model": "another"},
                {"agent": "named", "agent_hash": named.hash},
                {"agent": "named", "agent_hash": named.hash, "model": "another"},
            ):
                run_id = await here.submit(**fields)
                await here.runner.wake(run_id)
                assert (await here.state(run_id)).status == "succeeded"
            assert asked == ["usual", "another", "its-own", "another"]
            assert len(here.runner._endpoints._opened) == 3


@in_loop
async def test_a_run_waits_for_a_model_server_that_is_away_also_at_its_first_use(red: RedisServer) -> None:
    agent = Agent(name="clerk", instructions="Answer.", tools=[lookup], limits=Limits())
    with nobody_listens() as url:
        async with scene(red, agent, model_url=url) as here:
            run_id = await here.submit()
            await here.runner.wake(run_id)
            state = await here.state(run_id)
            assert (state.status, state.outages, state.is_held) == ("running", 1, False)
            assert await here.rung() == []


@in_loop
async def test_a_model_that_nobody_can_serve_fails_the_run(red: RedisServer) -> None:
    async with scene(red, scripted(answer("x"))) as here:
        run_id = await here.submit(model="gpt-99")
        await here.runner.wake(run_id)
        state = await here.state(run_id)
        assert (state.status, state.reason) == ("failed", "model_refused")
        assert "gpt-99" in state.detail


@in_loop
async def test_a_run_of_an_agent_that_is_not_here_is_left_to_others(red: RedisServer) -> None:
    ours = scripted(answer("x"))
    async with scene(red, ours) as here:
        unknown = await here.submit(agent="stranger", agent_hash="h")
        changed = await here.submit(agent_hash="older")
        for run_id in (unknown, changed):
            await here.runner.wake(run_id)
            state = await here.state(run_id)
            assert (state.status, state.is_held, state.losses) == ("running", False, 0)
        assert await here.rung() == []


@in_loop
async def test_a_drain_hands_over_rings_in_the_runs_own_priority_and_passes_wake_ups_on(red: RedisServer) -> None:
    async with scene(red, scripted(call("slow"), tools=(slow,))) as here:
        run_id = await here.submit(priority="high")
        waking = asyncio.create_task(here.runner.wake(run_id))
        await here.until(run_id, "call.intended")
        await here.runner.drain(0.05)
        await asyncio.wait([waking], timeout=5)
        state = await here.state(run_id)
        assert (state.status, state.is_held) == ("running", False)
        later = await here.submit()
        await here.runner.wake(later)
        assert sorted(await here.rung()) == sorted([(run_id, "high"), (later, "normal")])
        assert (await here.state(later)).attempts == 0


@in_loop
async def test_a_wake_up_that_is_cancelled_hands_its_run_over_and_does_not_cancel_it(red: RedisServer) -> None:
    """Celery may end for reasons of its own, which are none of the run's."""
    async with scene(red, scripted(call("slow"), tools=(slow,))) as here:
        run_id = await here.submit()
        waking = asyncio.create_task(here.runner.wake(run_id))
        await here.until(run_id, "call.intended")
        waking.cancel()
        await asyncio.gather(waking, return_exceptions=True)
        assert (await here.state(run_id)).status == "running"
        released = [each.event for each in await here.store.journal.read(run_id)][-1]
        assert isinstance(released, ev.RunReleased) and released.reason == "interrupted"
        assert await here.rung() == [(run_id, "normal")]
        assert here.runner.busy == 0


@in_loop
async def test_a_requested_cancellation_reaches_a_call_within_two_seconds(red: RedisServer) -> None:
    async with scene(red, scripted(call("slow"), tools=(slow,))) as here:
        run_id = await here.submit()
        waking = asyncio.create_task(here.runner.wake(run_id))
        await here.until(run_id, "call.intended")
        await here.store.journal.request_cancel(run_id, "enough")
        async with asyncio.timeout(5):
            await waking
        state = await here.state(run_id)
        assert (state.status, state.reason) == ("cancelled", "enough")


@in_loop
async def test_what_is_done_is_counted(red: RedisServer) -> None:
    async with scene(red, scripted(call("lookup", key="a"), answer("x"))) as here:
        await here.runner.wake(await here.submit())
        await here.store.metrics.flush()
        figures = await here.store.metrics.read()
        labels = (("agent", "clerk"),)
        assert figures.counts["steps"] == {labels: 2}
        assert list(figures.counts["runs_finished"]) == [
            (("agent", "clerk"), ("reason", ""), ("status", "succeeded"))
        ]  # fmt: skip
        assert sum(figures.times["model"][labels].buckets) == 2
        assert sum(figures.times["tool"][(("tool", "lookup"),)].buckets) == 1
        assert sum(figures.times["pickup"][()].buckets) == 1


@in_loop
async def test_text_is_published_while_somebody_listens(red: RedisServer) -> None:
    async with scene(red, scripted(call("lookup", key="a"), answer("x"))) as here:
        run_id = await here.submit()
        heard: list[tuple[str, dict[str, Any]]] = []

        async def listen() -> None:
            async for each in here.store.live.listen(run_id):
                heard.append(each)

        listening = asyncio.create_task(listen())
        await asyncio.sleep(0.3)
        await here.runner.wake(run_id)
        async with asyncio.timeout(10):
            while not heard:
                await asyncio.sleep(0.01)
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)
        kind, data = heard[0]
        assert kind == "delta" and data["step"] == 1 and '"lookup"' in data["text"]


@in_loop
async def test_a_run_goes_on_in_its_thread(red: RedisServer) -> None:
    agent = scripted(answer("four"), answer("eight"))
    async with scene(red, agent) as here:
        first = await here.submit(thread_id="t1", task="two and two?")
        await here.runner.wake(first)
        second = await here.submit(thread_id="t1", task="and twice that?")
        await here.runner.wake(second)
        texts = [each.content for each in (await here.state(second)).messages[1:4]]
        assert "two and two?" in texts[0] and "four" in texts[1] and "and twice that?" in texts[2]


@in_loop
async def test_a_journal_that_cannot_be_understood_ends_its_run(red: RedisServer) -> None:
    async with scene(red, scripted(answer("x"))) as here:
        run_id = await here.submit()
        claim = await here.store.journal.claim(run_id, "w0", ttl_s=0.001)
        here.store.journal.append(claim.lease, ev.CallFinished("9.9", "lookup", "of a call that was never made"))
        await here.store.journal.barrier(claim.lease)
        await asyncio.sleep(0.01)
        await here.runner.wake(run_id)
        record = await here.store.journal.record(run_id)
        assert (record.status, record.reason) == ("failed", "journal_corrupt")


@pytest.mark.parametrize("priority", ["high", "low"])
def test_priorities_reach_the_sweeper(red: RedisServer, priority: str) -> None:
    async def go() -> None:
        async with scene(red, scripted(answer("x"))) as here:
            run_id = new_run_id("acme")
            created = ev.RunCreated(run_id, "acme", "clerk", here.agent.hash, "t", priority=priority)  # type: ignore[arg-type]
            await here.store.journal.create(created)
            assert await here.store.journal.due_runs() == [(run_id, priority)]

    asyncio.run(go())
