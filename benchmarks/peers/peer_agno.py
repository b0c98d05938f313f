"""Agno: its sync path (about a tenth cheaper than the async one), no database, telemetry off."""
# mypy: ignore-errors

from collections.abc import Callable
from dataclasses import dataclass

from agno.agent import Agent
from agno.models.base import Model
from agno.models.response import ModelResponse

from measure import ANSWER, INSTRUCTIONS, TASK, TOOL_DESCRIPTION, Script, Subject, main


@dataclass
class ScriptedModel(Model):
    """A model that follows the script."""

    script: Script | None = None

    def invoke(self, *args, **kwargs) -> ModelResponse:
        turn = self.script.turn()
        if turn == self.script.steps:
            return ModelResponse(role="assistant", content=ANSWER)
        function = {"name": "add", "arguments": f'{{"a":{turn},"b":1}}'}
        return ModelResponse(
            role="assistant", tool_calls=[{"id": f"call_{turn}", "type": "function", "function": function}]
        )

    def invoke_stream(self, *args, **kwargs):
        raise NotImplementedError

    ainvoke = ainvoke_stream = _parse_provider_response = _parse_provider_response_delta = invoke_stream


def define(script: Script) -> Callable:
    """Make the tool."""

    def add(a: int, b: int) -> int:
        return script.add(a, b)

    add.__doc__ = TOOL_DESCRIPTION
    return add


def create(script: Script, add: Callable) -> Agent:
    """Build the agent."""
    return Agent(
        model=ScriptedModel(id="scripted", script=script), instructions=INSTRUCTIONS, tools=[add], telemetry=False
    )


def run(agent: Agent) -> str:
    """Run the task once."""
    return agent.run(TASK).content


if __name__ == "__main__":
    main(Subject(name="Agno", package="agno", define=define, create=create, run=run))
