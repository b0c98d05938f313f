"""A thousand decisions of a model that knows nothing: every one valid at the first try, by construction.

Random weights at temperature 1 are the hardest test of a constraint: whatever it allows, they will say. Each call is
checked twice against the full definition of its tool: by the tool's own strict validation, and by JSON Schema.
"""

import asyncio
import json
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from loopwright.errors import ArgumentsInvalid, EndpointError
from loopwright.inference.constraints.decision import DecisionConstraint
from loopwright.inference.constraints.validate import validator
from loopwright.inference.endpoint import CompletionRequest, Message, Sampling
from loopwright.inference.openai_compatible import OpenAICompatibleEndpoint
from loopwright.planner.prompt import render_head
from loopwright.planner.reader import DecisionReader
from loopwright.tests.vllm.server import VllmServer
from loopwright.tests.vllm.toolbox import TOOLS
from loopwright.tools import Tool

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(1800)]

ANSWER = '{"type":"string","maxLength":40}'
SUBJECTS = ("a delayed parcel", "the cold office", "Überweisung an Anna", "dinner for 8", "12 miles", "a 'quoted' name")
VERBS = ("Look into", "Sort out", "Tell me about", "Plan", "Correct", "Cancel")
CONCURRENT = 16


@dataclass(slots=True)
class Tally:
    """What came of many decisions."""

    valid: int = 0
    problems: list[str] = field(default_factory=list)
    tokens: int = 0
    longest: int = 0
    calls: Counter[str] = field(default_factory=Counter)


def request(tools: tuple[Tool, ...], number: int) -> CompletionRequest:
    """Return one of many different prompts, with a seed of its own; every fourth may also end in an answer."""
    task = f"{VERBS[number % 6]} {SUBJECTS[number // 6 % 6]} (case {number})."
    head = render_head("You are an assistant with tools.", tools, json.loads(ANSWER))
    constraint = DecisionConstraint(
        tuple(each.shape for each in tools), ANSWER if number % 4 == 0 else None, max_calls=2, thought_chars=40
    )
    sampling = Sampling(temperature=1.0, seed=500_000 + 1000 * len(tools) + number)
    return CompletionRequest((Message("system", head), Message("user", task)), constraint, sampling)


def problem_of(text: str, tools: tuple[Tool, ...]) -> str | None:
    """Return what is wrong with a decision, judged by the tools' full definitions."""
    try:
        decision = json.loads(text)
    except ValueError as error:
        return f"not JSON: {error}"
    if "calls" not in decision:
        right = list(decision) == ["thought", "answer"] and isinstance(decision["answer"], str)
        return None if right and len(decision["answer"]) <= 40 else "not an answer"
    streamed = DecisionReader().feed(text)
    if [json.loads(each) for _, each in streamed] != decision["calls"]:
        return "the reader saw other calls"
    for call in decision["calls"]:
        tool = next((each for each in tools if each.name == call["tool"]), None)
        if tool is None:
            return f"unknown tool {call['tool']}"
        try:
            tool.parse(json.dumps(call["arguments"], ensure_ascii=False))
        except ArgumentsInvalid as error:
            return str(error)
        if found := validator(tool.parameters)(call["arguments"]):
            return f"{tool.name}: {found}"
    return None


async def decide(
    endpoint: OpenAICompatibleEndpoint, asked: CompletionRequest, tools: tuple[Tool, ...], tally: Tally
) -> None:
    """Take one decision and judge it; nothing is asked twice."""
    text = finish = ""
    try:
        async for delta in endpoint.stream(asked):
            text += delta.text
            finish = delta.finish_reason or finish
            if delta.usage:
                tally.tokens += delta.usage.completion_tokens
                tally.longest = max(tally.longest, delta.usage.completion_tokens)
    except EndpointError as error:
        tally.problems.append(f"{error!r}: {text!r}")
        return
    problem = problem_of(text, tools) or (None if finish == "stop" else f"finish reason {finish}")
    if problem:
        tally.problems.append(f"{problem} in {text!r} (seed {asked.sampling.seed})")
    else:
        tally.valid += 1
        tally.calls.update(call["tool"] for call in json.loads(text).get("calls", ()))


async def take(url: str, tools: tuple[Tool, ...], count: int) -> Tally:
    """Take `count` decisions over a union of tools, 16 at a time."""
    endpoint = OpenAICompatibleEndpoint(url, "tiny", constraint_mode="vllm_grammar", max_concurrency=CONCURRENT)
    tally = Tally()
    try:
        await asyncio.gather(*(decide(endpoint, request(tools, each), tools, tally) for each in range(count)))
    finally:
        await endpoint.aclose()
    return tally


@pytest.mark.parametrize(("size", "count"), [(3, 334), (10, 333), (20, 333)])
def test_every_decision_is_valid_at_the_first_try(
    vllm: VllmServer, size: int, count: int, record_property: Callable[[str, object], None]
) -> None:
    started = time.monotonic()
    tally = asyncio.run(take(vllm.url, TOOLS[:size], count))
    wall_s = time.monotonic() - started
    calls = sum(tally.calls.values())
    facts = (
        f"{tally.valid}/{count} valid, {calls} calls, {tally.tokens} tokens, longest {tally.longest}, {wall_s:.0f} s"
    )
    record_property("decisions", facts)
    print(f"\n{size} tools: {facts}; {dict(tally.calls.most_common())}")
    assert tally.problems == []
    assert tally.valid == count
    assert calls >= count * 3 // 4


def test_every_tool_alone_is_called_validly(vllm: VllmServer) -> None:
    """In a union a random model names some tools rarely; here each of them must be called."""

    async def each_alone() -> list[Tally]:
        return [await take(vllm.url, (each,), 6) for each in TOOLS]

    for tool, tally in zip(TOOLS, asyncio.run(each_alone()), strict=True):
        assert tally.problems == []
        assert tally.calls[tool.name] >= 4
