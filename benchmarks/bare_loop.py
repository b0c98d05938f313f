"""The floor: parse a decision, validate the arguments, call the tool, append the observation, and nothing else."""

import json
from collections.abc import Awaitable, Callable
from typing import Any

from measure import DECISION, FINAL_DECISION, INSTRUCTIONS, TASK, Script, Subject, main
from pydantic import BaseModel, ConfigDict

Tool = Callable[..., Awaitable[int]]


class Call(BaseModel):
    """One tool call as the model writes it."""

    tool: str
    arguments: dict[str, Any]


class Decision(BaseModel):
    """One turn of the model."""

    thought: str
    calls: list[Call] = []
    answer: str | None = None


class Arguments(BaseModel):
    """What `add` takes."""

    model_config = ConfigDict(extra="forbid")

    a: int
    b: int


class Loop:
    """A ReAct loop without a framework."""

    def __init__(self, script: Script, add: Tool) -> None:
        self.script = script
        self.tools = {"add": (Arguments, add)}

    async def complete(self, messages: list[dict[str, str]]) -> str:
        """Return the scripted turn as the text that a constrained model writes."""
        turn = self.script.turn()
        return FINAL_DECISION if turn == self.script.steps else DECISION.format(turn=turn)

    async def run(self) -> str:
        """Run the task to its answer."""
        messages = [{"role": "system", "content": INSTRUCTIONS}, {"role": "user", "content": TASK}]
        while True:
            text = await self.complete(messages)
            decision = Decision.model_validate_json(text)
            messages.append({"role": "assistant", "content": text})
            if decision.answer is not None:
                return decision.answer
            for call in decision.calls:
                arguments, function = self.tools[call.tool]
                result = await function(**dict(arguments.model_validate(call.arguments)))
                messages.append({"role": "user", "content": json.dumps(result)})


def define(script: Script) -> Tool:
    """Make the tool."""

    async def add(a: int, b: int) -> int:
        return script.add(a, b)

    return add


async def run(loop: Loop) -> str:
    """Run the loop once."""
    return await loop.run()


if __name__ == "__main__":
    main(Subject(name="bare loop", package="pydantic", define=define, create=Loop, run=run))
