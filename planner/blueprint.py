"""What the planner derives from an agent once: its tools by name, its prompt head, the decisions it may take.

All runs of an agent in a process share one blueprint, and so the compiled forms of its constraints.
"""

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from ..inference.constraints.decision import DecisionConstraint, ToolShape
from .prompt import render_head

if TYPE_CHECKING:
    from ..agents.agent import Agent
    from ..tools.tool import Tool

PLAN_SCHEMA: Mapping[str, Any] = {
    "type": "array",
    "items": {"type": "string", "maxLength": 120},
    "minItems": 1,
    "maxItems": 6,
}
REFLECTION_SCHEMA: Mapping[str, Any] = {"type": "string", "maxLength": 300}
READ_ARTIFACT = "read_artifact"


class Blueprint:
    """An agent as the planner sees it. Cheap to look up: `blueprint_of(agent)` caches it."""

    def __init__(self, agent: "Agent[Any]") -> None:
        self.agent = agent
        self.tools: dict[str, Tool[..., Any]] = {each.name: each for each in agent.tools}
        self.listed = tuple(agent.tools)
        self.hidden: Tool[..., Any] | None = None
        if READ_ARTIFACT not in self.tools:
            self.hidden = self.tools[READ_ARTIFACT] = _read_artifact()
        self.early = frozenset(name for name, each in self.tools.items() if each.effect == "read" and not each.approval)
        self._head: tuple[str, str] | None = None
        self._constraints: dict[tuple[bool, bool], DecisionConstraint] = {}
        self._answer = agent.output_constraint
        self.plan_constraint = DecisionConstraint((), canonical(PLAN_SCHEMA))
        self.reflection_constraint = DecisionConstraint((), canonical(REFLECTION_SCHEMA))

    def constraint(self, *, may_call: bool, artifacts: bool) -> DecisionConstraint:
        """Return the decisions allowed now.

        Args:
            may_call: Whether tools may be called at all; without, only an answer can be expressed.
            artifacts: Whether some result was cut, so that `read_artifact` is offered as well.
        """
        key = (may_call, artifacts)
        known = self._constraints.get(key)
        if known is None:
            known = self._constraints[key] = DecisionConstraint(self._shapes(may_call, artifacts), self._answer)
        return known

    def head(self, instructions: str) -> str:
        """Return the system message for these instructions; the last one is remembered."""
        if self._head is None or self._head[0] != instructions:
            self._head = (instructions, render_head(instructions, self.listed, self.agent.output_schema))
        return self._head[1]

    def _shapes(self, may_call: bool, artifacts: bool) -> tuple[ToolShape, ...]:
        if not may_call:
            return ()
        shapes = tuple(each.shape for each in self.listed)
        return (*shapes, self.hidden.shape) if self.hidden and artifacts else shapes


@lru_cache(maxsize=512)
def blueprint_of(agent: "Agent[Any]") -> Blueprint:
    """Return the agent's blueprint, made once per definition."""
    return Blueprint(agent)


def canonical(schema: Mapping[str, Any]) -> str:
    """Return a schema as compact JSON text with its keys in the given order: property order has a meaning here."""
    return json.dumps(schema, ensure_ascii=False, separators=(",", ":"))


def _read_artifact() -> "Tool[..., Any]":
    from ..tools.builtin.artifacts import read_artifact

    return read_artifact
