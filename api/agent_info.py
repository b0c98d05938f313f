"""An agent as the API shows it."""

from typing import Any

from ..agents.agent import Agent
from ..tools import Tool
from .models import AgentInfo, ToolInfo


def agent_info(agent: Agent[Any]) -> AgentInfo:
    """Return what callers may know of an agent; nothing of it comes from a run or a tenant."""
    model = agent.model
    return AgentInfo(
        name=agent.name,
        hash=agent.hash,
        instructions=_instructions(agent),
        model=model if model is None or isinstance(model, str) else model.name,
        limits=dict(agent.limits.as_dict()),
        output_schema=agent.output_schema,
        tools=[_tool_info(each) for each in agent.tools],
    )


def _instructions(agent: Agent[Any]) -> str:
    """Return the text; instructions that a function writes for each run have none of their own."""
    if isinstance(agent.instructions, str):
        return agent.instructions
    name = getattr(agent.instructions, "__qualname__", type(agent.instructions).__qualname__)
    return f"(written for each run by {name})"


def _tool_info(tool: Tool[..., Any]) -> ToolInfo:
    return ToolInfo(
        name=tool.name,
        description=tool.description,
        effect=tool.effect,
        approval=tool.approval,
        queue=tool.queue,
        parameters=dict(tool.parameters),
    )
