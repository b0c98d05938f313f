"""An agent's own objects: opened once, closed at drain, never shown."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest
from structlog.testing import capture_logs

from loopwright.agents import Agent, ResourcePool
from loopwright.errors import Misuse, ResourcesFailed
from loopwright.memory.journal.in_memory import InMemoryJournal
from loopwright.planner.events import encode
from loopwright.testing import ScriptedEndpoint, answer, call
from loopwright.tools import Context, tool

SECRET = "hunter2-canary"


class Client:
    """A client that would betray its password if anybody printed it."""

    def __init__(self, password: str) -> None:
        self.password = password

    def __repr__(self) -> str:
        return f"Client({self.password})"


def recording(
    events: list[str], name: str = "a", opens: Callable[[], None] = lambda: None
) -> Callable[[], AbstractAsyncContextManager[Client]]:
    @asynccontextmanager
    async def resources() -> AsyncIterator[Client]:
        await asyncio.sleep(0.01)
        opens()
        events.append(f"open {name}")
        task = asyncio.current_task()
        try:
            yield Client(SECRET)
        finally:
            assert asyncio.current_task() is task
            events.append(f"close {name}")

    return resources


def agent_with(resources: Any, name: str = "clerk") -> Agent[str]:
    return Agent(name, "Help.", resources=resources)


def test_concurrent_first_uses_open_once_and_closing_goes_backwards() -> None:
    events: list[str] = []
    first, second = agent_with(recording(events, "a"), "a"), agent_with(recording(events, "b"), "b")

    async def main() -> None:
        pool = ResourcePool()
        values = await asyncio.gather(*[pool.get(first) for _ in range(10)])
        assert len({id(value) for value in values}) == 1
        assert await pool.get(second) is not values[0]
        await pool.aclose()
        with pytest.raises(Misuse, match="draining"):
            await pool.get(first)

    asyncio.run(main())
    assert events == ["open a", "open b", "close b", "close a"]


def test_an_agent_without_resources_has_none() -> None:
    assert asyncio.run(ResourcePool().get(Agent("clerk", "Help."))) is None


def test_a_failing_factory_is_a_clear_error_and_the_next_use_tries_again() -> None:
    failures = [ConnectionError(f"postgres://user:{SECRET}@db refused")]
    events: list[str] = []

    def opens() -> None:
        if failures:
            raise failures.pop()

    agent = agent_with(recording(events, opens=opens))

    async def main() -> Any:
        pool = ResourcePool()
        outcomes = await asyncio.gather(*[pool.get(agent) for _ in range(3)], return_exceptions=True)
        client = await pool.get(agent)
        await pool.aclose()
        return outcomes, client

    with capture_logs() as logged:
        outcomes, client = asyncio.run(main())
    assert [str(each) for each in outcomes] == ["resources of agent 'clerk' could not be opened (ConnectionError)"] * 3
    assert all(isinstance(each, ResourcesFailed) for each in outcomes)
    assert isinstance(client, Client)
    assert [each["event"] for each in logged] == ["resources_open_failed"]


def test_a_failure_to_close_is_logged_and_hinders_nothing() -> None:
    events: list[str] = []

    @asynccontextmanager
    async def sticky() -> AsyncIterator[int]:
        yield 1
        raise OSError("will not close")

    async def main() -> None:
        pool = ResourcePool()
        await pool.get(agent_with(recording(events, "good"), "good"))
        await pool.get(agent_with(sticky, "sticky"))
        await pool.aclose()

    with capture_logs() as logged:
        asyncio.run(main())
    assert events == ["open good", "close good"]
    assert [(each["event"], each["agent"]) for each in logged] == [("resources_close_failed", "sticky")]


def test_a_waiter_that_is_cancelled_leaves_the_others_alone() -> None:
    events: list[str] = []
    agent = agent_with(recording(events))

    async def main() -> None:
        pool = ResourcePool()
        one, other = asyncio.create_task(pool.get(agent)), asyncio.create_task(pool.get(agent))
        await asyncio.sleep(0)
        one.cancel()
        assert isinstance(await other, Client)
        await pool.aclose()

    asyncio.run(main())
    assert events == ["open a", "close a"]


def test_what_is_no_async_context_manager_is_an_error_too() -> None:
    with pytest.raises(ResourcesFailed, match=r"\((TypeError|AttributeError)\)"), capture_logs():
        asyncio.run(ResourcePool().get(agent_with(lambda: 7)))


def test_a_secret_in_resources_appears_nowhere() -> None:
    """Not in a repr, not in the journal, not in the prompt, not in the log of a crash, not in an error."""
    agent_events: list[str] = []

    @tool(effect="read")
    async def use(context: Context[Client]) -> str:
        """Use the client."""
        assert context.resources.password == SECRET
        assert SECRET not in repr(context)
        raise RuntimeError("connection lost")

    agent = Agent("clerk", "Help.", tools=[use], resources=recording(agent_events))
    journal = InMemoryJournal()
    model = ScriptedEndpoint([call("use"), answer("failed")])

    async def main() -> Any:
        result = await agent.run("Do it.", endpoint=model, journal=journal)
        pool = ResourcePool()
        await pool.get(agent)
        shown = repr(pool) + repr(agent) + repr(vars(pool)) + repr(result.state)
        await pool.aclose()
        events = await journal.read(result.run_id)
        return shown, b"".join(encode(each.event) for each in events), result.output

    with capture_logs() as logged:
        shown, stored, output = asyncio.run(main())
    assert output == "failed"
    assert b"RuntimeError" in stored
    assert SECRET not in shown
    assert SECRET.encode() not in stored
    assert SECRET not in repr(model.requests)
    assert SECRET not in repr(logged)
    assert logged[0]["event"] == "tool_crashed"
    assert agent_events == ["open a", "close a", "open a", "close a"]
