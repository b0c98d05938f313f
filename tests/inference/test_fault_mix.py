"""Many completions against a server that fails in every way at once: each ends in its full text or a typed error."""

import asyncio
import random
from collections import Counter

from loopwright.errors import EndpointError
from loopwright.inference.completion import Timeouts
from loopwright.inference.endpoint import CompletionRequest, Message
from loopwright.inference.openai_compatible import OpenAICompatibleEndpoint
from loopwright.inference.retry import RetryPolicy
from loopwright.tests.inference.fake_server import DONE, Act, FakeServer, Reply, Seen, chunk, does, fails, says

GOOD = says('{"thought":"a",', '"answer":', '"b"}')
TEXT = '{"thought":"a","answer":"b"}'
COMPLETIONS = 300

MIX: list[tuple[float, Reply]] = [
    (0.10, fails(429, retry_after="0")),
    (0.10, fails(503)),
    (0.05, does(Act.RESET)),
    (0.05, does(chunk('{"thought"'), Act.STALL)),
    (0.05, does(chunk('{"thought":"a","ans'), Act.CLOSE)),
    (0.02, does(chunk('{"thought":"a",'), *[chunk(" ")] * 300, DONE)),
    (0.63, GOOD),
]


def test_every_completion_ends_in_its_text_or_in_a_typed_error() -> None:
    chance = random.Random(21)

    def draw(_: Seen) -> Reply:
        return chance.choices([reply for _, reply in MIX], [share for share, _ in MIX])[0]

    async def one(endpoint: OpenAICompatibleEndpoint) -> str:
        text = ""
        try:
            async for delta in endpoint.stream(CompletionRequest((Message("user", "hi"),))):
                text += delta.text
        except EndpointError as error:
            return type(error).__name__
        return "complete" if text == TEXT else f"wrong text {text!r}"

    async def main(url: str) -> Counter[str]:
        endpoint = OpenAICompatibleEndpoint(
            url,
            "m",
            constraint_mode="none",
            context_tokens=4096,
            timeouts=Timeouts(idle_token_s=0.5),
            retry=RetryPolicy(attempts=6, base_s=0.01),
            max_concurrency=16,
        )
        try:
            return Counter(await asyncio.gather(*(one(endpoint) for _ in range(COMPLETIONS))))
        finally:
            await endpoint.aclose()

    with FakeServer(draw) as server:
        outcomes = asyncio.run(main(server.url))
    assert set(outcomes) <= {"complete", "EndpointUnavailable", "EndpointTimedOut", "StreamRunaway"}
    assert outcomes["complete"] >= COMPLETIONS * 0.75
    assert len(server.chats) < COMPLETIONS * 2
