"""What a run pins of its agent."""

import os
import subprocess
import sys
from typing import Any

import pytest

from loopwright.agents import Agent, Limits, Memory, RunContext
from loopwright.testing import ScriptedEndpoint
from loopwright.tools import Tool, tool


def lookup(description: str = "Look it up.", **options: Any) -> Tool:
    async def look(key: str) -> str:
        return key

    return tool(look, description=description, **options)


def of(**fields: Any) -> str:
    return Agent(**{"name": "clerk", "instructions": "Help.", "tools": [lookup()], **fields}).hash


def polite(context: RunContext) -> str:
    return "Be polite."


def rude(context: RunContext) -> str:
    return "Be rude."


@pytest.mark.parametrize(
    "change",
    [
        {"instructions": "Help!"},
        {"instructions": polite},
        {"tools": []},
        {"tools": [lookup("Look it up now.")]},
        {"tools": [lookup(effect="read")]},
        {"output_type": int},
        {"limits": Limits(max_steps=13)},
        {"memory": Memory(semantic=True)},
        {"model": "large"},
        {"plan": True},
        {"reflect": True},
        {"samples": 3, "temperature": 1.0},
        {"temperature": 0.5},
        {"in_doubt": "tell"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_change_that_a_run_would_notice_changes_the_hash(change: dict[str, Any]) -> None:
    assert of(**change) != of()


def test_equal_definitions_have_equal_hashes() -> None:
    assert of() == of()
    assert of(instructions=polite) == of(instructions=polite) != of(instructions=rude)
    assert of(model=ScriptedEndpoint([], name="m")) == of(model="m")


def test_a_change_inside_an_inner_agent_changes_the_outer_hash() -> None:
    def outer(instructions: str) -> str:
        return of(tools=[Agent("inner", instructions, description="Help.").as_tool()])

    assert outer("Dig.") != outer("Dig deeper.")


SCRIPT = """
import enum
from typing import Annotated, Literal
from loopwright import Agent, tool
from pydantic import BaseModel, Field

class Kind(enum.Enum):
    A = "a"
    B = "b"

class Part(BaseModel):
    kind: Kind
    tags: dict[str, list[Literal["x", "y"]]] = {}
    parts: "list[Part]" = []

@tool
def build(part: Part, count: Annotated[int, Field(ge=1)] = 1) -> str:
    "Build."
    return ""

ask = eval("lambda context: 'x' if context.tenant in {'a', 'b', 'c'} else 'y'")
print(Agent("clerk", "Help.", tools=[build], output_type=list[Part]).hash, Agent("clerk", ask).hash)
"""


def test_the_hash_is_the_same_in_every_process() -> None:
    """A worker with other hash seeds must recognise the runs of this one."""
    seen = {
        subprocess.run(
            [sys.executable, "-c", SCRIPT],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("0", "1", "4242")
    }
    assert len(seen) == 1
