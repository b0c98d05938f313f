"""DSPy: `ReAct` on an engine of our own, sync (its faster path), cache off.

Its last call, which extracts the answer, counts as no step.
"""
# mypy: ignore-errors

import dspy
from dspy.lm15 import Message, Response, TextPart, Usage

from measure import ANSWER, INSTRUCTIONS, TASK, TOOL_DESCRIPTION, Script, Subject, main

MAX_ITERS = 100
USAGE = Usage(input_tokens=1, output_tokens=1, total_tokens=2)
STEP = (
    "[[ ## next_thought ## ]]\nnext\n\n[[ ## next_tool_name ## ]]\n{tool}\n\n"
    "[[ ## next_tool_args ## ]]\n{arguments}\n\n[[ ## completed ## ]]"
)
EXTRACT = f"[[ ## reasoning ## ]]\nenough\n\n[[ ## answer ## ]]\n{ANSWER}\n\n[[ ## completed ## ]]"


class ScriptedEngine:
    """A model that follows the script."""

    def __init__(self, script: Script) -> None:
        self.script = script

    def complete(self, request) -> Response:
        if self.script.index == self.script.steps:
            text = EXTRACT
        elif (turn := self.script.turn()) == self.script.steps:
            text = STEP.format(tool="finish", arguments="{}")
        else:
            text = STEP.format(tool="add", arguments=f'{{"a":{turn},"b":1}}')
        return Response(
            id=None, model=request.model, message=Message.assistant([TextPart(text)]), finish_reason="stop", usage=USAGE
        )


def define(script: Script) -> dspy.Tool:
    """Make the tool."""

    def add(a: int, b: int) -> int:
        return script.add(a, b)

    add.__doc__ = TOOL_DESCRIPTION
    return dspy.Tool(add)


def create(script: Script, add: dspy.Tool) -> dspy.ReAct:
    """Build the program and give it its model."""
    program = dspy.ReAct(dspy.Signature("task -> answer", INSTRUCTIONS), tools=[add], max_iters=MAX_ITERS)
    program.set_lm(dspy.LM("scripted/model", engine=ScriptedEngine(script), cache=False))
    return program


def run(program: dspy.ReAct) -> str:
    """Run the task once."""
    return program(task=TASK).answer


if __name__ == "__main__":
    dspy.configure(disable_history=True)
    main(Subject(name="DSPy ReAct", package="dspy", define=define, create=create, run=run))
