"""Find agents by name, and load them from files, folders and modules."""

from collections.abc import Iterable
from typing import Any

from .agent import Agent


class Registry:
    """The agents of a process, by name."""

    def __init__(self, agents: Iterable[Agent[Any]] = ()) -> None:
        raise NotImplementedError

    @property
    def agents(self) -> list[Agent[Any]]:
        """All agents, sorted by name."""
        raise NotImplementedError

    @property
    def names(self) -> list[str]:
        """Their names, sorted."""
        raise NotImplementedError

    def add(self, agent: Agent[Any]) -> None:
        """Add an agent; adding the same object again changes nothing.

        Raises:
            DefinitionInvalid: Another agent has this name.
        """

    def get(self, name: str) -> Agent[Any]:
        """Return an agent.

        Raises:
            AgentNotFound: None has this name; the message lists those that exist.
        """
        raise NotImplementedError


def load(source: str) -> list[Agent[Any]]:
    """Load agents from a file, a folder, `module`, or `module:name` (also `file.py:name`).

    Raises:
        LoadFailed: There is no such source, it does not run, or it defines no agent.
        DefinitionInvalid: A definition inside is wrong; the message names file and line.
    """
    raise NotImplementedError
