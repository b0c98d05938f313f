"""The endpoint behind the openai SDK, with the real SDK against a scripted server."""

import asyncio
from typing import Any

import openai
import pytest

from loopwright import Agent, run_agent, tool
from loopwright.errors import ContextTooLong, EndpointError, EndpointRefused, EndpointTimedOut, EndpointUnavailable
from loopwright.inference.endpoint import CompletionRequest, Delta, Message
from loopwright.inference.sdk_endpoint import SdkEndpoint
from loopwright.testing import answer, call

from .fake_server import Act, FakeServer, Reply, chunk, does, fails, says

ASKED = CompletionRequest((Message("user", "hello"),))


def client(server: FakeServer, **options: Any) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=server.url, api_key="sk-secret", max_retries=0, **options)


def collect(reply: Reply, **options: Any) -> list[Delta]:
    async def main() -> list[Delta]:
        with FakeServer(reply) as server:
            endpoint = SdkEndpoint(client(server, **options), "m")
            try:
                return [delta async for delta in endpoint.stream(ASKED)]
            finally:
                await endpoint.aclose()

    return asyncio.run(main())


def test_text_finish_and_usage_arrive() -> None:
    deltas = collect(says("hel", "lo"))
    assert "".join(delta.text for delta in deltas) == "hello"
    assert [delta.finish_reason for delta in deltas if delta.finish_reason] == ["stop"]
    usage = deltas[-1].usage
    assert usage is not None
    assert (usage.prompt_tokens, usage.cached_tokens, usage.completion_tokens) == (7, 4, 3)


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (fails(429, retry_after="7"), EndpointUnavailable),
        (fails(503), EndpointUnavailable),
        (fails(401), EndpointRefused),
        (fails(400, "maximum context length is 10 tokens"), ContextTooLong),
        (does(Act.RESET), EndpointUnavailable),
        (does(Act.STALL), EndpointTimedOut),
        (does(chunk("a"), Act.STALL), EndpointError),
    ],
)
def test_errors_of_the_sdk_become_ours(reply: Reply, error: type[EndpointError]) -> None:
    with pytest.raises(error) as caught:
        collect(reply, timeout=0.5)
    assert "sk-secret" not in str(caught.value)


def test_an_agent_runs_on_it() -> None:
    @tool(effect="read")
    def lookup(key: str) -> str:
        """Look a key up."""
        return f"value of {key}"

    agent = Agent(name="a", instructions="Answer.", tools=[lookup])

    async def main() -> Any:
        with FakeServer(says(call("lookup", key="k")), says(answer("it is k"))) as server:
            endpoint = SdkEndpoint(client(server), "m")
            result = await run_agent(agent, "k?", endpoint=endpoint)
            await endpoint.aclose()
            return result, server.chats

    result, chats = asyncio.run(main())
    assert result.output == "it is k"
    assert result.state.tokens.completion == 6
    body = chats[0].body
    assert body["response_format"]["type"] == "json_schema"
    assert body["messages"][1] == {"role": "user", "content": "k?"}
