"""Pydantic AI: a `Model` of our own, because its `FunctionModel` recounts the tokens of the history at each step."""
# mypy: ignore-errors

from collections.abc import Callable

from pydantic_ai import Agent
from pydantic_ai.messages import ModelResponse, TextPart, ToolCallPart
from pydantic_ai.models import Model
from pydantic_ai.usage import RequestUsage, UsageLimits

from measure import ANSWER, INSTRUCTIONS, TASK, TOOL_DESCRIPTION, Script, Subject, main

USAGE = RequestUsage(input_tokens=1, output_tokens=1)
LIMITS = UsageLimits(request_limit=None)


class ScriptedModel(Model):
    """A model that follows the script."""

    def __init__(self, script: Script) -> None:
        super().__init__()
        self.script = script

    async def request(self, messages, model_settings, model_request_parameters) -> ModelResponse:
        self.prepare_request(model_settings, model_request_parameters)
        turn = self.script.turn()
        if turn == self.script.steps:
            return ModelResponse(parts=[TextPart(ANSWER)], usage=USAGE)
        call = ToolCallPart("add", f'{{"a":{turn},"b":1}}', tool_call_id=f"call_{turn}")
        return ModelResponse(parts=[call], usage=USAGE)

    @property
    def model_name(self) -> str:
        return "scripted"

    @property
    def system(self) -> str:
        return "scripted"


def define(script: Script) -> Callable:
    """Make the tool."""

    async def add(a: int, b: int) -> int:
        return script.add(a, b)

    add.__doc__ = TOOL_DESCRIPTION
    return add


def create(script: Script, add: Callable) -> Agent:
    """Build the agent."""
    return Agent(ScriptedModel(script), instructions=INSTRUCTIONS, tools=[add])


async def run(agent: Agent) -> str:
    """Run the task once."""
    return (await agent.run(TASK, usage_limits=LIMITS)).output


if __name__ == "__main__":
    main(Subject(name="Pydantic AI", package="pydantic-ai-slim", define=define, create=create, run=run))
