"""The agents of a process, by name."""

from collections.abc import Iterable, Iterator
from typing import Any

from ..errors import AgentNotFound, DefinitionInvalid
from .agent import Agent


class Registry:
    """Finds agents by name, also those that stand behind the tools of others."""

    def __init__(self, agents: Iterable[Agent[Any]] = ()) -> None:
        self._agents: dict[str, Agent[Any]] = {}
        self._inner: dict[str, Agent[Any]] = {}
        for each in agents:
            self.add(each)

    @property
    def agents(self) -> list[Agent[Any]]:
        """The agents that were added, sorted by name."""
        return [self._agents[name] for name in self.names]

    @property
    def names(self) -> list[str]:
        """Their names, sorted."""
        return sorted(self._agents)

    def add(self, agent: Agent[Any]) -> None:
        """Add an agent; adding the same object again changes nothing.

        Raises:
            DefinitionInvalid: Another agent has this name.
        """
        if self._agents.setdefault(agent.name, agent) is not agent:
            raise DefinitionInvalid(f"agent {agent.name!r}", ["name: another agent has this name"])
        for inner in _inner(agent):
            self._inner.setdefault(inner.name, inner)

    def get(self, name: str) -> Agent[Any]:
        """Return an agent. One that is only a tool of others is found too, because its runs are runs like any other.

        Raises:
            AgentNotFound: None has this name; the message lists those that were added.
        """
        agent = self._agents.get(name) or self._inner.get(name)
        if agent is None:
            raise AgentNotFound(name, ", ".join(self.names) or "none")
        return agent


def _inner(agent: Agent[Any]) -> Iterator[Agent[Any]]:
    for tool in agent.tools:
        if tool.agent is not None:
            yield tool.agent
            yield from _inner(tool.agent)
