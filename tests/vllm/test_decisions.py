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

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(1800)]

ANSWER = '{"type":"string","maxLength":40}'
BY_NAME = {each.name: each for each in TOOLS}
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


def request(constraint: DecisionConstraint, size: int, number: int) -> CompletionRequest:
    """Return one of many different prompts, with a seed of its own."""
    task = f"{VERBS[number % 6]} {SUBJECTS[number // 6 % 6]} (case {number})."
    head = render_head("You are an assistant with tools.", TOOLS[:size], json.loads(ANSWER))
    sampling = Sampling(temperature=1.0, seed=500_000 + 1000 * size + number)
    return CompletionRequest((Message("system", head), Message("user", task)), constraint, sampling)


def problem_of(text: str, size: int) -> str | None:
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
        if call["tool"] not in [each.name for each in TOOLS[:size]]:
            return f"unknown tool {call['tool']}"
        tool = BY_NAME[call["tool"]]
        try:
            tool.parse(json.dumps(call["arguments"], ensure_ascii=False))
        except ArgumentsInvalid as error:
            return str(error)
        if found := validator(tool.parameters)(call["arguments"]):
            return f"{tool.name}: {found}"
    return None


async def decide(endpoint: OpenAICompatibleEndpoint, asked: CompletionRequest, size: int, tally: Tally) -> None:
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
    problem = problem_of(text, size) or (None if finish == "stop" else f"finish reason {finish}")
    if problem:
        tally.problems.append(f"{problem} in {text!r} (seed {asked.sampling.seed})")
    else:
        tally.valid += 1
        tally.calls.update(call["tool"] for call in json.loads(text).get("calls", ()))


async def take(url: str, size: int, count: int) -> Tally:
    """Take `count` decisions over the first `size` tools."""
    shapes = tuple(each.shape for each in TOOLS[:size])
    constraint = DecisionConstraint(shapes, ANSWER, max_calls=2, thought_chars=40)
    endpoint = OpenAICompatibleEndpoint(url, "tiny", constraint_mode="vllm_grammar", max_concurrency=CONCURRENT)
    tally = Tally()
    try:
        await asyncio.gather(*(decide(endpoint, request(constraint, size, each), size, tally) for each in range(count)))
    finally:
        await endpoint.aclose()
    return tally


@pytest.mark.parametrize(("size", "count"), [(3, 334), (10, 333), (20, 333)])
def test_every_decision_is_valid_at_the_first_try(
    vllm: VllmServer, size: int, count: int, record_property: Callable[[str, object], None]
) -> None:
    started = time.monotonic()
    tally = asyncio.run(take(vllm.url, size, count))
    wall_s = time.monotonic() - started
    facts = f"{tally.valid}/{count} valid, {tally.tokens} tokens, longest {tally.longest}, {wall_s:.0f} s"
    record_property("decisions", facts)
    print(f"\n{size} tools: {facts}; calls {dict(tally.calls.most_common())}")
    assert tally.problems == []
    assert tally.valid == count
    assert set(tally.calls) == {each.name for each in TOOLS[:size]}
