"""The endpoint against a real vLLM server: streaming, usage, cancellation, a prompt that is too long, the probe."""

import asyncio
import json
import time
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from loopwright.errors import ContextTooLong, EndpointRefused
from loopwright.inference.constraints.decision import DecisionConstraint
from loopwright.inference.endpoint import CompletionRequest, Delta, Message, Sampling
from loopwright.inference.openai_compatible import OpenAICompatibleEndpoint
from loopwright.inference.probe import probe
from loopwright.tests.vllm.server import VllmServer
from loopwright.tests.vllm.toolbox import TOOLS

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(900)]

CONSTRAINT = DecisionConstraint(
    tuple(each.shape for each in TOOLS[:3]), '{"type":"string","maxLength":40}', max_calls=2, thought_chars=40
)


def run(server: VllmServer, act: Callable[[OpenAICompatibleEndpoint], Coroutine[Any, Any, Any]], **options: Any) -> Any:
    """Do something with an endpoint and close it."""

    async def main() -> Any:
        endpoint = OpenAICompatibleEndpoint(server.url, "tiny", **options)
        try:
            return await act(endpoint)
        finally:
            await endpoint.aclose()

    return asyncio.run(main())


def asked(text: str = "What is the weather?", *, constraint: DecisionConstraint | None = None, **sampling: Any) -> Any:
    """Return a request at temperature 1."""
    messages = (Message("system", "You are an assistant."), Message("user", text))
    return CompletionRequest(messages, constraint, Sampling(temperature=1.0, **sampling))


def collect(request: CompletionRequest) -> Callable[[OpenAICompatibleEndpoint], Coroutine[Any, Any, list[Delta]]]:
    """Return an act that collects a completion's deltas."""

    async def act(endpoint: OpenAICompatibleEndpoint) -> list[Delta]:
        return [delta async for delta in endpoint.stream(request)]

    return act


def test_a_decision_streams_in_pieces_and_ends_with_usage(vllm: VllmServer) -> None:
    async def act(endpoint: OpenAICompatibleEndpoint) -> list[Delta]:
        deltas = await collect(asked(constraint=CONSTRAINT, seed=3))(endpoint)
        assert (endpoint.mode, endpoint.context_tokens) == ("vllm_grammar", 4096)
        return deltas

    deltas = run(vllm, act)
    decision = json.loads("".join(each.text for each in deltas))
    assert list(decision) in (["thought", "calls"], ["thought", "answer"])
    assert len(deltas) > 5
    assert deltas[-1].finish_reason == "stop"
    usage = deltas[-1].usage
    assert usage is not None
    assert usage.prompt_tokens > 5
    assert usage.completion_tokens >= len(deltas) - 1


def test_a_prompt_that_grew_is_read_from_the_prefix_cache(vllm: VllmServer) -> None:
    async def twice(endpoint: OpenAICompatibleEndpoint) -> int:
        for request in (asked("again " * 300, max_tokens=4), asked("again " * 300 + "more", max_tokens=4)):
            last = (await collect(request)(endpoint))[-1]
        assert last.usage is not None
        return last.usage.cached_tokens

    assert run(vllm, twice, constraint_mode="none") > 0


@pytest.mark.parametrize("mode", ["vllm_json", "response_format"])
def test_schema_modes_are_accepted_too(vllm: VllmServer, mode: Any) -> None:
    """Whether a number ends is the grammar's advantage, so a cut answer is no failure here."""
    deltas = run(vllm, collect(asked(constraint=CONSTRAINT, seed=11)), constraint_mode=mode)
    assert "".join(each.text for each in deltas).startswith('{"thought":"')


def test_leaving_a_stream_frees_the_server(vllm: VllmServer) -> None:
    """Random weights may end a completion at any token, and the gauge follows late: try until one is seen running."""

    async def reads(value: float, within_s: float) -> bool:
        ends = time.monotonic() + within_s
        while await asyncio.to_thread(vllm.metric, "vllm:num_requests_running") != value:
            if time.monotonic() > ends:
                return False
            await asyncio.sleep(0.05)
        return True

    async def leave(endpoint: OpenAICompatibleEndpoint) -> bool:
        for seed in range(20):
            stream = endpoint.stream(asked(max_tokens=3500, seed=seed))
            await anext(stream)
            was_running = await reads(1, 3)
            await stream.aclose()
            assert await reads(0, 30)
            if was_running:
                return True
        return False

    assert run(vllm, leave, constraint_mode="none")


def test_a_prompt_longer_than_the_window_is_context_too_long(vllm: VllmServer) -> None:
    with pytest.raises(ContextTooLong) as caught:
        run(vllm, collect(asked("word " * 20_000)), constraint_mode="none")
    assert not caught.value.retryable


def test_an_unknown_model_is_refused(vllm: VllmServer) -> None:
    async def main() -> None:
        endpoint = OpenAICompatibleEndpoint(vllm.url, "missing", constraint_mode="none")
        try:
            await collect(asked())(endpoint)
        finally:
            await endpoint.aclose()

    with pytest.raises(EndpointRefused) as caught:
        asyncio.run(main())
    assert caught.value.status == 404


def test_the_token_estimate_comes_near_the_servers_count(vllm: VllmServer) -> None:
    async def learn(endpoint: OpenAICompatibleEndpoint) -> tuple[int, int]:
        for number in range(8):
            request = asked(f"Case {number}: tell me about the parcel that never came. " * 20, max_tokens=1)
            last = (await collect(request)(endpoint))[-1]
        assert last.usage is not None
        return endpoint.count_tokens(request.messages), last.usage.prompt_tokens

    estimate, counted = run(vllm, learn, constraint_mode="none")
    assert estimate == pytest.approx(counted, rel=0.15)


def test_the_probe_finds_everything_in_order(vllm: VllmServer) -> None:
    report = run(vllm, probe)
    assert report.problems == []
    assert report.is_usable
    assert report.mode == "vllm_grammar"
    assert report.honours == {"vllm_grammar": True, "vllm_json": True, "response_format": True}
    assert (report.is_compact, report.context_tokens) == (True, 4096)
    assert report.reports_usage
    assert report.reports_cached
