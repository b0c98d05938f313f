"""OpenAI Agents SDK: its async runner, tracing off."""
# mypy: ignore-errors

from agents import (
    Agent,
    FunctionTool,
    Model,
    ModelResponse,
    RunConfig,
    Runner,
    Usage,
    function_tool,
    set_tracing_disabled,
)
from openai.types.responses import ResponseFunctionToolCall, ResponseOutputMessage, ResponseOutputText

from measure import ANSWER, INSTRUCTIONS, TASK, TOOL_DESCRIPTION, Script, Subject, main

CONFIG = RunConfig(tracing_disabled=True)
MAX_TURNS = 100


class ScriptedModel(Model):
    """A model that follows the script."""

    def __init__(self, script: Script) -> None:
        self.script = script

    async def get_response(self, *args, **kwargs) -> ModelResponse:
        turn = self.script.turn()
        if turn == self.script.steps:
            text = ResponseOutputText(type="output_text", text=ANSWER, annotations=[])
            item = ResponseOutputMessage(
                id="message", type="message", role="assistant", status="completed", content=[text]
            )
        else:
            item = ResponseFunctionToolCall(
                type="function_call", call_id=f"call_{turn}", name="add", arguments=f'{{"a":{turn},"b":1}}'
            )
        return ModelResponse(output=[item], usage=Usage(), response_id=None)

    def stream_response(self, *args, **kwargs):
        raise NotImplementedError


def define(script: Script) -> FunctionTool:
    """Make the tool."""

    async def add(a: int, b: int) -> int:
        return script.add(a, b)

    add.__doc__ = TOOL_DESCRIPTION
    return function_tool(add)


def create(script: Script, add: FunctionTool) -> Agent:
    """Build the agent."""
    return Agent(name="adder", instructions=INSTRUCTIONS, model=ScriptedModel(script), tools=[add])


async def run(agent: Agent) -> str:
    """Run the task once."""
    return (await Runner.run(agent, TASK, max_turns=MAX_TURNS, run_config=CONFIG)).final_output


if __name__ == "__main__":
    set_tracing_disabled(True)
    main(Subject(name="OpenAI Agents SDK", package="openai-agents", define=define, create=create, run=run))
