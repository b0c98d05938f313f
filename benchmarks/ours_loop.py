"""Loopwright: `Agent.run` with a scripted endpoint and the journal in memory."""

from itertools import repeat
from typing import Any

from measure import DECISION, FINAL_DECISION, INSTRUCTIONS, TASK, Script, Subject, main

from loopwright import Agent, Limits, Tool, tool
from loopwright.inference.endpoint import CompletionRequest
from loopwright.testing import ScriptedEndpoint

LIMITS = Limits(max_steps=100, max_tool_calls=100)


def define(script: Script) -> Tool[..., Any]:
    """Make the tool."""

    @tool(effect="read")
    async def add(a: int, b: int) -> int:
        """Return the sum of two integers.

        Args:
            a: One integer.
            b: The other.
        """
        return script.add(a, b)

    return add


def create(script: Script, add: Tool[..., Any]) -> Agent[str]:
    """Build the agent and the endpoint that follows the script."""

    def say(_: CompletionRequest) -> str:
        turn = script.turn()
        return FINAL_DECISION if turn == script.steps else DECISION.format(turn=turn)

    endpoint = ScriptedEndpoint(repeat(say))
    return Agent(name="adder", instructions=INSTRUCTIONS, tools=[add], limits=LIMITS, model=endpoint)


async def run(agent: Agent[str]) -> str:
    """Run the task once."""
    answer = (await agent.run(TASK)).output
    agent.model.requests.clear()  # type: ignore[union-attr]
    return answer


if __name__ == "__main__":
    main(Subject(name="Loopwright", package="loopwright", define=define, create=create, run=run))
