"""A LangChain chat model that follows the script, and the graph around it; for the in-memory and the durable run."""
# mypy: ignore-errors

from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, SystemMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.tools import BaseTool
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.prebuilt import ToolNode, tools_condition

from measure import ANSWER, INSTRUCTIONS

CONFIG = {"recursion_limit": 1000}


class ScriptedModel(BaseChatModel):
    """A model that follows the script; without one, because runs overlap, it counts the messages."""

    script: Any = None
    steps: int = 0

    async def _agenerate(self, messages, stop=None, run_manager=None, **kwargs) -> ChatResult:
        turn = self.script.turn() if self.script else len(messages) // 2
        if turn == self.steps:
            message = AIMessage(ANSWER)
        else:
            message = AIMessage("", tool_calls=[{"name": "add", "args": {"a": turn, "b": 1}, "id": f"call_{turn}"}])
        return ChatResult(generations=[ChatGeneration(message=message)])

    def _generate(self, *args, **kwargs):
        raise NotImplementedError

    @property
    def _llm_type(self) -> str:
        return "scripted"


def build_graph(model: ScriptedModel, add: BaseTool, **options: Any) -> CompiledStateGraph:
    """Return the ReAct graph: model, then tools while there are calls. `options` go to `compile`."""
    system = SystemMessage(INSTRUCTIONS)

    async def ask(state: MessagesState) -> dict[str, Any]:
        return {"messages": [await model.ainvoke([system, *state["messages"]])]}

    graph = StateGraph(MessagesState)
    graph.add_node("ask", ask)
    graph.add_node("tools", ToolNode([add]))
    graph.add_edge(START, "ask")
    graph.add_conditional_edges("ask", tools_condition)
    graph.add_edge("tools", "ask")
    return graph.compile(**options)
