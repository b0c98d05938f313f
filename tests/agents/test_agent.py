"""A definition, and what is wrong with it."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime
from typing import Any, Literal

import pytest
from pydantic import BaseModel

from loopwright.agents import Agent, Limits, Memory, RunContext
from loopwright.errors import DecisionInvalid, DefinitionInvalid, Misuse
from loopwright.testing import ScriptedEndpoint, answer, call
from loopwright.tools import Tool, tool


class Quote(BaseModel):
    rate: float
    on: date
    source: Literal["ecb", "fed"] = "ecb"


@tool(effect="read")
async def exchange_rate(base: str, quote: str) -> float:
    """Return how many units of `quote` one unit of `base` buys."""
    return 1.08


def problems_of(**fields: Any) -> list[str]:
    with pytest.raises(DefinitionInvalid) as caught:
        Agent(**{"name": "clerk", "instructions": "Help.", **fields})
    return caught.value.problems


def paths_of(**fields: Any) -> list[str]:
    return [problem.split(":")[0] for problem in problems_of(**fields)]


def test_a_name_and_instructions_make_an_agent_that_answers_in_text() -> None:
    agent = Agent("clerk", "Help.")
    assert agent.output_schema == {"type": "string"}
    assert agent.output_constraint == '{"type":"string"}'
    assert agent.parse_output('"hi"') == "hi"
    assert (agent.tools, agent.limits, agent.samples) == ((), Limits(), 1)


def test_all_problems_are_listed_at_once_each_with_its_path() -> None:
    found = paths_of(
        name="two words",
        instructions="  ",
        tools=[exchange_rate, print, exchange_rate],
        output_type=type(lambda: None),
        limits=Limits(max_steps=0, deadline_s=-1),
        memory=Memory(window_tokens=-5),
        samples=0,
        in_doubt="guess",
    )
    assert found == [
        "name",
        "instructions",
        "tools[1]",
        "tools[2].name",
        "limits.max_steps",
        "limits.deadline_s",
        "memory.window_tokens",
        "samples",
        "in_doubt",
        "output_type",
    ]


def two(first: Any, second: Any) -> str:
    return ""


async def opens() -> AsyncIterator[int]:
    yield 1


@pytest.mark.parametrize(
    ("field", "value", "path"),
    [
        ("name", "", "name"),
        ("name", "9lives", "name"),
        ("name", "x" * 65, "name"),
        ("instructions", 3, "instructions"),
        ("instructions", two, "instructions"),
        ("tools", [Agent("inner", "Help.")], "tools[0]"),
        ("tools", ["exchange_rate"], "tools[0]"),
        ("tools", 7, "tools"),
        ("output_type", set[int], "output_type#/uniqueItems"),
        ("output_type", "NoSuchType", "output_type"),
        ("limits", {"max_steps": 3}, "limits"),
        ("limits", Limits(max_tokens=0), "limits.max_tokens"),
        ("limits", Limits(max_tool_calls=-1), "limits.max_tool_calls"),
        ("limits", Limits(max_cost=0), "limits.max_cost"),
        ("limits", Limits(max_steps=True), "limits.max_steps"),
        ("memory", Memory(semantic="yes"), "memory.semantic"),  # type: ignore[arg-type]
        ("model", "", "model"),
        ("model", 3, "model"),
        ("resources", "postgres://", "resources"),
        ("resources", opens, "resources"),
        ("plan", 1, "plan"),
        ("samples", 33, "samples"),
        ("temperature", -1, "temperature"),
        ("temperature", float("nan"), "temperature"),
        ("description", None, "description"),
    ],
)
def test_a_field_that_cannot_be_meant_is_refused(field: str, value: Any, path: str) -> None:
    assert paths_of(**{field: value}) == [path]


def test_an_answer_is_read_strictly() -> None:
    agent = Agent(name="treasurer", instructions="Help.", output_type=Quote)
    assert agent.parse_output('{"rate":1.08,"on":"2026-11-22"}') == Quote(rate=1.08, on=date(2026, 11, 22))
    with pytest.raises(DecisionInvalid, match=r'the answer is invalid: rate: should be a valid number, got "1.08"'):
        agent.parse_output('{"rate":"1.08","on":"2026-11-22"}')
    assert agent.answer_problems('{"rate":1}') == "on: is missing"
    assert agent.answer_problems('{"rate":1,"on":"2026-11-22"}') == ""


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (list[int], "[1,2]", [1, 2]),
        (int | None, "null", None),
        (Literal["yes", "no"], '"yes"', "yes"),
        (dict[str, float], '{"a":1}', {"a": 1.0}),
        (bool, "true", True),
    ],
)
def test_any_type_that_pydantic_reads_may_be_the_answer(kind: Any, text: str, value: Any) -> None:
    assert Agent(name="a", instructions="b", output_type=kind).parse_output(text) == value


def test_an_agent_is_frozen_and_shows_its_name_only() -> None:
    agent = Agent("clerk", "Help.")
    with pytest.raises(AttributeError):
        agent.name = "other"  # type: ignore[misc]
    assert repr(agent) == "Agent('clerk')"


# --- instructions --------------------------------------------------------------------------------------------

CONTEXT = RunContext("r1", "acme", "task", datetime(2026, 11, 22, tzinfo=UTC))


async def later(context: RunContext) -> str:
    return f"Async for {context.tenant}."


def test_instructions_may_be_text_or_a_function_sync_or_async() -> None:
    for instructions, text in [
        ("Help.", "Help."),
        (lambda context: f"Help {context.tenant} on {context.now:%Y-%m-%d}.", "Help acme on 2026-11-22."),
        (later, "Async for acme."),
    ]:
        agent = Agent("clerk", instructions)
        assert asyncio.run(agent.render_instructions(CONTEXT)) == text


@pytest.mark.parametrize("value", [None, "", 3])
def test_instructions_that_are_no_text_are_refused_when_they_are_rendered(value: Any) -> None:
    with pytest.raises(DefinitionInvalid, match="instructions"):
        asyncio.run(Agent("clerk", lambda context: value).render_instructions(CONTEXT))


# --- limits --------------------------------------------------------------------------------------------------


def test_an_inherited_budget_is_the_smaller_of_the_two() -> None:
    inner = Limits(max_steps=5, max_tokens=100, max_tool_calls=9, deadline_s=60, max_cost=None)
    left = Limits(max_steps=8, max_tokens=70, max_tool_calls=2, deadline_s=90.5, max_cost=0.2)
    assert inner.within(left) == Limits(max_steps=5, max_tokens=70, max_tool_calls=2, deadline_s=60, max_cost=0.2)
    assert Limits().within(Limits()) == Limits()


# --- running -------------------------------------------------------------------------------------------------


def test_run_gives_a_typed_result() -> None:
    agent = Agent(name="treasurer", instructions="Help.", tools=[exchange_rate], output_type=Quote)
    model = ScriptedEndpoint(
        [call("exchange_rate", base="EUR", quote="USD"), answer({"rate": 1.08, "on": "2026-11-22"})]
    )
    assert asyncio.run(agent.run("EUR in USD?", endpoint=model)).output.rate == 1.08


def test_run_sync_needs_no_event_loop_and_refuses_to_run_inside_one() -> None:
    agent = Agent("clerk", "Help.")
    assert agent.run_sync("hi", endpoint=ScriptedEndpoint([answer("hello")])).output == "hello"

    async def inside() -> None:
        agent.run_sync("hi")

    with pytest.raises(Misuse, match=r"await agent\.run"):
        asyncio.run(inside())


def researcher(**fields: Any) -> Agent[str]:
    return Agent(**{"name": "the-researcher", "instructions": "Dig.", "description": "Finds things out.", **fields})


def test_an_agent_becomes_a_tool_of_another() -> None:
    made: Tool = researcher(limits=Limits(deadline_s=45)).as_tool()
    assert (made.name, made.description, made.effect, made.timeout_s) == (
        "the_researcher",
        "Finds things out.",
        "keyed",
        45,
    )
    assert list(made.parameters["properties"]) == ["task"]
    assert made.agent is not None
    other = researcher().as_tool(name="dig", description="Dig deeper.")
    assert (other.name, other.description) == ("dig", "Dig deeper.")


def test_an_agent_without_a_description_is_no_tool() -> None:
    with pytest.raises(DefinitionInvalid, match="description: say when to ask this agent"):
        Agent("clerk", "Help.").as_tool()


def test_an_agent_asks_another_and_reads_its_answer() -> None:
    boss = Agent("boss", "Delegate.", tools=[researcher().as_tool()])
    model = ScriptedEndpoint(
        [call("the_researcher", task="find it"), answer("found it"), answer("It is found.")],
        count=True,
    )
    result = boss.run_sync("Where is it?", endpoint=model)
    assert result.output == "It is found."
    assert model.requests[1].messages[1].content == "find it"
    assert "found it" in model.requests[2].messages[-1].content


def test_agents_nest_three_deep_and_no_deeper() -> None:
    agent = researcher(name="a0")
    for depth in range(1, 5):
        agent = researcher(name=f"a{depth}", tools=[agent.as_tool()])
    model = ScriptedEndpoint([call(f"a{depth}", task="go") for depth in (3, 2, 1, 0)] + [answer("up")] * 4)
    assert agent.run_sync("go", endpoint=model).output == "up"
    assert "agents may call agents only 3 levels deep" in model.requests[4].messages[-1].content
