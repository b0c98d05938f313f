"""Agents by name."""

import pytest

from loopwright.agents import Agent, Registry
from loopwright.errors import AgentNotFound, DefinitionInvalid

CLERK = Agent("clerk", "Help.", description="Helps.")
BOSS = Agent("boss", "Rule.", tools=[CLERK.as_tool()])


def test_agents_are_listed_by_name() -> None:
    registry = Registry([CLERK, BOSS])
    assert registry.names == ["boss", "clerk"]
    assert registry.agents == [BOSS, CLERK]
    assert registry.get("boss") is BOSS


def test_an_unknown_name_is_answered_with_the_known_ones() -> None:
    with pytest.raises(AgentNotFound, match="there is no agent 'chief'; known agents: boss, clerk"):
        Registry([CLERK, BOSS]).get("chief")
    with pytest.raises(AgentNotFound, match="known agents: none"):
        Registry().get("chief")


def test_two_agents_cannot_share_a_name() -> None:
    registry = Registry([CLERK])
    registry.add(CLERK)
    with pytest.raises(DefinitionInvalid, match="name: another agent has this name"):
        registry.add(Agent("clerk", "Someone else."))


def test_an_agent_behind_a_tool_is_found_though_not_listed() -> None:
    """Its runs are runs like any other: a worker that takes one over must find the definition."""
    registry = Registry(
        [Agent("chief", "Rule all.", tools=[Agent("b", "B.", description="B.", tools=[CLERK.as_tool()]).as_tool()])]
    )
    assert registry.names == ["chief"]
    assert registry.get("clerk") is CLERK
