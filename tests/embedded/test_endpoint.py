"""The shipped model loads, decides validly, reuses prefixes without changing what it says, and never blocks."""

import asyncio
import json
import subprocess
import sys
import time

import pytest
from jsonschema import Draft202012Validator

from loopwright.errors import ContextTooLong, EndpointTimedOut, EndpointUnavailable, ExtraMissing
from loopwright.inference.embedded import Checkpoint, EmbeddedEndpoint
from loopwright.inference.embedded import checkpoint as checkpoint_module
from loopwright.inference.endpoint import CompletionRequest, Endpoint, Message, Sampling
from loopwright.planner.prompt import render_observation

from .support import CONSTRAINT, HEAD, TOOLS, ask, asking, complete

CHECKERS = {tool.name: Draft202012Validator(dict(tool.parameters)) for tool in TOOLS}


def assert_valid(text: str) -> None:
    """Check a decision against the shape of a step and the schemas of its tools."""
    decision = json.loads(text)
    assert list(decision) in (["thought", "calls"], ["thought", "answer"])
    for call in decision.get("calls", ()):
        CHECKERS[call["tool"]].validate(call["arguments"])
    assert isinstance(decision.get("answer", ""), str)


def test_it_is_an_endpoint_and_knows_its_window() -> None:
    endpoint = EmbeddedEndpoint()
    assert isinstance(endpoint, Endpoint)
    assert endpoint.name == "embedded"
    assert endpoint.context_tokens == 2048
    assert 100 < endpoint.count_tokens((HEAD, Message("user", "hi"))) < 400


def test_a_plain_request_gets_a_valid_decision_with_usage() -> None:
    (text, usage), (_, again) = ask(asking("what is 17 times 23"), asking("what is 17 times 23"))
    assert_valid(text)
    assert usage.cached_tokens == 0
    assert again.cached_tokens == usage.prompt_tokens - 1
    assert usage.completion_tokens > 10


def test_a_reused_prefix_gives_the_same_text_as_a_cold_start() -> None:
    """The second step of a run, once behind the first one and once on its own."""
    first = asking("how many km are 12 miles")
    text = ask(first)[0][0]
    seen = render_observation("1.1", "convert_units", "19.312128 km")
    second = asking("how many km are 12 miles", Message("assistant", text), Message("user", seen))
    other = asking("where is order A-1042?")
    (_, _), (_, _), (warm, usage) = ask(first, other, second)
    ((cold, nothing),) = ask(second)
    assert warm == cold
    assert nothing.cached_tokens == 0
    assert usage.cached_tokens > ask(first)[0][1].prompt_tokens


def test_fifty_decisions_at_temperature_one_are_all_valid() -> None:
    tasks = ("what is 3 plus 4", "convert 70 kg to pounds", "where is order A-1042?", "hello there", "??")
    requests = [asking(tasks[i % 5], sampling=Sampling(temperature=1.0, seed=i)) for i in range(50)]
    for text, _ in ask(*requests):
        assert_valid(text)


def test_the_same_seed_draws_the_same_text() -> None:
    request = asking("surprise me", sampling=Sampling(temperature=1.0, seed=7, top_p=0.9))
    (one, _), (two, _) = ask(request, request)
    assert one == two


def test_completions_at_the_same_time_say_what_they_say_alone() -> None:
    requests = [asking(f"what is {n} plus 4") for n in range(2, 8)]

    async def together() -> list[str]:
        endpoint = EmbeddedEndpoint()
        found = await asyncio.gather(*(complete(endpoint, request) for request in requests))
        await endpoint.aclose()
        return [text for text, _ in found]

    assert asyncio.run(together()) == [text for text, _ in ask(*requests)]


def test_the_event_loop_runs_on_while_the_model_decodes() -> None:
    async def main() -> float:
        endpoint = EmbeddedEndpoint()
        await endpoint.prepare()
        work = asyncio.create_task(complete(endpoint, asking("what is 17 times 23")))
        longest, last = 0.0, time.monotonic()
        while not work.done():
            await asyncio.sleep(0)
            now = time.monotonic()
            longest, last = max(longest, now - last), now
        await endpoint.aclose()
        return longest

    assert asyncio.run(main()) < 0.5


def test_without_a_constraint_it_writes_until_its_limit() -> None:
    request = CompletionRequest((Message("user", "hello"),), None, Sampling(max_tokens=5))

    async def main() -> str | None:
        endpoint = EmbeddedEndpoint()
        _, deltas = await complete(endpoint, request)
        await endpoint.aclose()
        return deltas[-1].finish_reason

    assert asyncio.run(main()) in ("length", "stop")


def test_closing_the_iterator_stops_decoding() -> None:
    async def main() -> None:
        endpoint = EmbeddedEndpoint()
        stream = endpoint.stream(asking("what is 17 times 23"))
        await anext(stream)
        await stream.aclose()
        text, _ = await complete(endpoint, asking("what is 17 times 23"))
        assert_valid(text)
        await endpoint.aclose()

    asyncio.run(main())


def test_failures_are_told_apart() -> None:
    async def main() -> None:
        endpoint = EmbeddedEndpoint()
        with pytest.raises(ContextTooLong):
            await complete(endpoint, asking("word " * 3000))
        late = CompletionRequest(asking("hi").messages, CONSTRAINT, deadline_s=0.0)
        with pytest.raises(EndpointTimedOut):
            await complete(endpoint, late)
        await endpoint.aclose()
        with pytest.raises(EndpointUnavailable):
            await complete(endpoint, asking("hi"))

    asyncio.run(main())


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(ExtraMissing, match=r"loopwright\[embedded\]"):
        Checkpoint().load_session(threads=1)
    with pytest.raises(ExtraMissing):
        Checkpoint().load_tokenizer()


def test_importing_it_imports_no_heavy_library() -> None:
    heavy = {"torch", "numpy", "onnxruntime", "tokenizers", "onnx", "safetensors"}
    code = f"import sys, loopwright.inference.embedded; print({heavy!r} & set(sys.modules))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "set()"


def test_the_checkpoint_is_small() -> None:
    assert sum(path.stat().st_size for path in checkpoint_module.SHIPPED.iterdir()) < 20_000_000
