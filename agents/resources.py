"""The agents' own objects, such as database pools and API clients: opened once per process, closed at drain.

Each is opened and closed by a task of its own, since many async context managers (anyio's task groups among them)
must be left in the task that entered them.
"""

import asyncio
import traceback
from typing import Any

from ..errors import Misuse, ResourcesFailed
from .agent import Agent, Resources


class ResourcePool:
    """Opens each agent's `resources` at first use and keeps them until `aclose`. Belongs to one event loop."""

    def __init__(self) -> None:
        self._opened: dict[Agent[Any], _Owner] = {}
        self._is_closed = False

    def __repr__(self) -> str:
        return f"ResourcePool({', '.join(sorted(agent.name for agent in self._opened))})"

    async def get(self, agent: Agent[Any]) -> Any:
        """Return the agent's resources, `None` when it declares none. Concurrent first uses open them once.

        Raises:
            ResourcesFailed: The factory raised. The next call tries again.
            Misuse: The pool is closed.
        """
        if agent.resources is None:
            return None
        if self._is_closed:
            raise Misuse("the resource pool is closed: the process is draining")
        owner = self._opened.get(agent)
        if owner is None or owner.is_over:
            owner = self._opened[agent] = _Owner(agent.name, agent.resources)
        return await owner.value()

    async def aclose(self) -> None:
        """Close everything, last opened first. A failure to close is logged and hinders nothing."""
        self._is_closed = True
        while self._opened:
            _, owner = self._opened.popitem()
            await owner.aclose()


class _Owner:
    """The task that opens one agent's resources, waits, and closes them."""

    def __init__(self, agent: str, factory: Resources) -> None:
        self._agent = agent
        self._factory = factory
        self._opened: Any = None
        self._failure: str | None = None
        self._is_ready = asyncio.Event()
        self._closing = asyncio.Event()
        self._task = asyncio.create_task(self._own(), name=f"resources of {agent}")

    @property
    def is_over(self) -> bool:
        return self._task.done()

    async def value(self) -> Any:
        await self._is_ready.wait()
        if self._failure is not None:
            raise ResourcesFailed(self._agent, self._failure)
        return self._opened

    async def aclose(self) -> None:
        self._closing.set()
        if not self._is_ready.is_set():
            self._task.cancel()
        await asyncio.wait([self._task])

    async def _own(self) -> None:
        try:
            async with self._factory() as self._opened:
                self._is_ready.set()
                await self._closing.wait()
        except asyncio.CancelledError:
            self._failure = self._failure or "cancelled"
        except Exception as exc:
            self._failure = type(exc).__name__
            self._log(exc)
        finally:
            self._opened = None
            self._is_ready.set()

    def _log(self, error: Exception) -> None:
        import structlog

        what = "resources_close_failed" if self._is_ready.is_set() else "resources_open_failed"
        trace = "".join(traceback.format_exception(error))
        structlog.get_logger("loopwright.agents").error(what, agent=self._agent, traceback=trace)
