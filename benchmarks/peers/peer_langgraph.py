"""LangGraph: a graph of model and `ToolNode`, async, tracing off; measured faster than its prebuilt ReAct agent."""
# mypy: ignore-errors

from langchain_core.tools import BaseTool, tool
from langgraph.graph.state import CompiledStateGraph

from measure import TASK, TOOL_DESCRIPTION, Script, Subject, main
from peers.langgraph_model import CONFIG, ScriptedModel, build_graph


def define(script: Script) -> BaseTool:
    """Make the tool."""

    async def add(a: int, b: int) -> int:
        return script.add(a, b)

    add.__doc__ = TOOL_DESCRIPTION
    return tool(add)


def create(script: Script, add: BaseTool) -> CompiledStateGraph:
    """Build the agent."""
    return build_graph(ScriptedModel(script=script, steps=script.steps), add)


async def run(agent: CompiledStateGraph) -> str:
    """Run the task once."""
    state = await agent.ainvoke({"messages": [("user", TASK)]}, CONFIG)
    return state["messages"][-1].content


if __name__ == "__main__":
    main(Subject(name="LangGraph", package="langgraph", define=define, create=create, run=run))
