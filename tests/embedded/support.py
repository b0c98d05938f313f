"""A toolbox and short ways to ask the embedded model."""

import asyncio
import json

from loopwright.inference.constraints.decision import DecisionConstraint, ToolShape
from loopwright.inference.embedded import EmbeddedEndpoint
from loopwright.inference.embedded.train.requests import CALCULATE, CONVERT, ORDER
from loopwright.inference.endpoint import CompletionRequest, Delta, Message, Sampling, Usage
from loopwright.planner.prompt import render_head

TOOLS = (CALCULATE, CONVERT, ORDER)
CONSTRAINT = DecisionConstraint(
    tuple(ToolShape(tool.name, json.dumps(tool.parameters)) for tool in TOOLS), '{"type":"string"}'
)
HEAD = Message("system", render_head("You are a helpful assistant.", TOOLS, {"type": "string"}))


def asking(task: str, *later: Message, sampling: Sampling | None = None) -> CompletionRequest:
    """Return a request with the toolbox."""
    return CompletionRequest((HEAD, Message("user", task), *later), CONSTRAINT, sampling or Sampling())


async def complete(endpoint: EmbeddedEndpoint, request: CompletionRequest) -> tuple[str, list[Delta]]:
    """Return the text and all deltas of a completion."""
    deltas = [delta async for delta in endpoint.stream(request)]
    return "".join(delta.text for delta in deltas), deltas


def ask(*requests: CompletionRequest) -> list[tuple[str, Usage]]:
    """Ask a fresh endpoint one request after the other; return texts and usage."""

    async def main() -> list[tuple[str, Usage]]:
        endpoint = EmbeddedEndpoint()
        found = []
        for request in requests:
            text, deltas = await complete(endpoint, request)
            found.append((text, deltas[-1].usage or Usage()))
        await endpoint.aclose()
        return found

    return asyncio.run(main())
