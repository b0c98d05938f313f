"""Find what a run in this process needs when the caller does not hand it in: journal, model, resources."""

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

from ..memory.journal.contract import Journal
from .loop import Surroundings

if TYPE_CHECKING:
    from ..agents.agent import Agent
    from ..inference.endpoint import Endpoint


@asynccontextmanager
async def surroundings(
    agent: "Agent[Any]", endpoint: "Endpoint | None", journal: Journal | None, hooks: Mapping[str, Any]
) -> AsyncIterator[Surroundings]:
    """Yield the surroundings of a run; what was made here is closed afterwards, what was handed in is left alone."""
    from ..agents.resources import ResourcePool
    from .child import run_child

    async with AsyncExitStack() as stack:
        if journal is None:
            from ..memory.journal.in_memory import InMemoryJournal

            journal = InMemoryJournal()
        is_given = endpoint is not None
        if endpoint is None:
            if agent.model is None or isinstance(agent.model, str):
                from ..inference.connect import connect

                endpoint = await stack.enter_async_context(connect(agent.model))
            else:
                endpoint = agent.model
        given = {"run_child": run_child, "follows_endpoint": is_given, **hooks}
        if given.get("resources") is None:
            given["resources"] = pool = ResourcePool()
            stack.push_async_callback(pool.aclose)
        yield Surroundings(endpoint=endpoint, journal=journal, **given)
