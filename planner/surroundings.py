"""Find what a run in this process needs when the caller does not hand it in: journal, model, resources."""

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

from ..agents.resources import ResourcePool
from ..memory.journal.contract import Journal
from .child import run_child
from .loop import Surroundings

if TYPE_CHECKING:
    from ..agents.agent import Agent
    from ..inference.endpoint import Endpoint

Close = Callable[[], Awaitable[None]]


async def arrange(
    agent: "Agent[Any]", endpoint: "Endpoint | None", journal: Journal | None, hooks: Mapping[str, Any]
) -> tuple[Surroundings, Close]:
    """Return the surroundings of a run, and what closes the parts that were made here; what was handed in stays open.

    Raises:
        EndpointError, SettingsInvalid, ExtraMissing: No endpoint was handed in, and none can be had.
    """
    made = AsyncExitStack()
    is_given = endpoint is not None
    if journal is None:
        from ..memory.journal.in_memory import InMemoryJournal

        journal = InMemoryJournal()
    if endpoint is None:
        endpoint = await _endpoint(agent, made)
    given = {"run_child": run_child, "follows_endpoint": is_given, **hooks}
    if given.get("resources") is None:
        given["resources"] = pool = ResourcePool()
        made.push_async_callback(pool.aclose)
    return Surroundings(endpoint=endpoint, journal=journal, **given), made.aclose


async def _endpoint(agent: "Agent[Any]", made: AsyncExitStack) -> "Endpoint":
    if agent.model is not None and not isinstance(agent.model, str):
        return agent.model
    from ..inference.connect import connect

    return await made.enter_async_context(connect(agent.model))
