"""The agents' own objects, such as database pools and API clients: opened once per process, closed at drain."""

from typing import Any

from .agent import Agent


class ResourcePool:
    """Opens each agent's `resources` at first use and keeps them until `aclose`."""

    async def get(self, agent: Agent[Any]) -> Any:
        """Return the agent's resources, `None` when it declares none. Concurrent first uses open them once.

        Raises:
            ResourcesFailed: The factory raised. The next call tries again.
        """
        raise NotImplementedError

    async def aclose(self) -> None:
        """Close everything, last opened first. A failure to close is logged and hinders nothing."""
        raise NotImplementedError
