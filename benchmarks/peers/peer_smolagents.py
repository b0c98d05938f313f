"""smolagents: `ToolCallingAgent`, its sync loop, output off."""
# mypy: ignore-errors

from smolagents import LogLevel, Tool, ToolCallingAgent, tool
from smolagents.models import (
    ChatMessage,
    ChatMessageToolCall,
    ChatMessageToolCallFunction,
    MessageRole,
    Model,
)

from measure import ANSWER, INSTRUCTIONS, TASK, Script, Subject, main

MAX_STEPS = 100


class ScriptedModel(Model):
    """A model that follows the script."""

    def __init__(self, script: Script) -> None:
        super().__init__(model_id="scripted")
        self.script = script

    def generate(self, messages, **kwargs) -> ChatMessage:
        turn = self.script.turn()
        if turn == self.script.steps:
            function = ChatMessageToolCallFunction(name="final_answer", arguments={"answer": ANSWER})
        else:
            function = ChatMessageToolCallFunction(name="add", arguments=f'{{"a":{turn},"b":1}}')
        call = ChatMessageToolCall(function=function, id=f"call_{turn}", type="function")
        return ChatMessage(role=MessageRole.ASSISTANT, content=None, tool_calls=[call])


def define(script: Script) -> Tool:
    """Make the tool."""

    @tool
    def add(a: int, b: int) -> int:
        """Return the sum of two integers.

        Args:
            a: One integer.
            b: The other.
        """
        return script.add(a, b)

    return add


def create(script: Script, add: Tool) -> ToolCallingAgent:
    """Build the agent."""
    return ToolCallingAgent(
        tools=[add],
        model=ScriptedModel(script),
        instructions=INSTRUCTIONS,
        max_steps=MAX_STEPS,
        verbosity_level=LogLevel.OFF,
    )


def run(agent: ToolCallingAgent) -> str:
    """Run the task once."""
    return agent.run(TASK)


if __name__ == "__main__":
    main(Subject(name="smolagents", package="smolagents", define=define, create=create, run=run))
