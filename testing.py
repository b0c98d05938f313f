"""Endpoints that need no model, for testing agents: one follows a script, one obeys the schema at random.

    model = ScriptedEndpoint([call("exchange_rate", base="EUR", quote="USD"), answer("1.08")])
    result = await treasurer.run("What is a euro in dollars?", endpoint=model)
    assert model.requests[1].messages[-1].content.endswith("1.08</observation>")

With pytest, the fixtures `scripted_model` and `random_model` give the same (see `pytest_plugin`).
"""

import asyncio
import json
import random
from collections.abc import AsyncGenerator, Callable, Iterable
from typing import Any

from .errors import EndpointRefused
from .inference.endpoint import CompletionRequest, Delta, Message, Usage

Reply = str | Exception | Callable[[CompletionRequest], str]
"""Text to say, an error to raise, or a function that says something fitting."""

_CHARS_PER_TOKEN = 4


def call(tool: str, /, *, thought: str = "", **arguments: Any) -> str:
    """Return a decision that calls one tool."""
    return calls((tool, arguments), thought=thought)


def calls(*wanted: tuple[str, dict[str, Any]], thought: str = "") -> str:
    """Return a decision that calls several tools in one step, given as (name, arguments)."""
    return _compact({"thought": thought, "calls": [{"tool": tool, "arguments": given} for tool, given in wanted]})


def answer(value: Any, *, thought: str = "") -> str:
    """Return a decision that ends the run with an answer: any JSON value."""
    return _compact({"thought": thought, "answer": value})


class ScriptedEndpoint:
    """An endpoint that gives prepared replies, one for each request.

    Args:
        replies: What to say, in order. A request beyond the last one fails with `EndpointRefused`.
        name: Shown in logs and journals.
        context_tokens: The window it claims to have.
        chunk_chars: Stream in pieces of so many characters; 0 sends each reply whole.
        count: Report token usage (about four characters each); off, because counting costs time.

    Attributes:
        requests: Every request seen, in order.
    """

    def __init__(
        self,
        replies: Iterable[Reply],
        *,
        name: str = "scripted",
        context_tokens: int | None = None,
        chunk_chars: int = 0,
        count: bool = False,
    ) -> None:
        self.name = name
        self.context_tokens = context_tokens
        self.requests: list[CompletionRequest] = []
        self._replies = iter(replies)
        self._chunk_chars = chunk_chars
        self._count = count

    async def stream(self, request: CompletionRequest) -> AsyncGenerator[Delta, None]:
        """Yield the next reply."""
        self.requests.append(request)
        text = self._next(request)
        usage = Usage(self.count_tokens(request.messages), 0, len(text) // _CHARS_PER_TOKEN) if self._count else None
        if self._chunk_chars:
            for at in range(0, len(text), self._chunk_chars):
                yield Delta(text[at : at + self._chunk_chars])
                await asyncio.sleep(0)  # a real stream lets other work go on between two pieces
            text = ""
        yield Delta(text, finish_reason="stop", usage=usage)

    def count_tokens(self, messages: tuple[Message, ...]) -> int:
        """Return a quarter of the characters."""
        return sum(len(each.content) for each in messages) // _CHARS_PER_TOKEN

    async def aclose(self) -> None:
        """Nothing to release."""

    def _next(self, request: CompletionRequest) -> str:
        reply = next(self._replies, None)
        if reply is None:
            raise EndpointRefused(self.name, f"the script has no reply number {len(self.requests)}")
        if isinstance(reply, Exception):
            raise reply
        return reply if isinstance(reply, str) else reply(request)


class RandomEndpoint(ScriptedEndpoint):
    """An endpoint that obeys the constraint with random valid values: finds what an agent's tools do not expect.

    Args:
        seed: Same seed, same requests: same replies.
        name: Shown in logs and journals.
        chunk_chars: As for `ScriptedEndpoint`.
    """

    def __init__(self, seed: int = 0, *, name: str = "random", chunk_chars: int = 0) -> None:
        super().__init__((), name=name, chunk_chars=chunk_chars)
        self._random = random.Random(seed)

    def _next(self, request: CompletionRequest) -> str:
        from .inference.constraints.sampling import random_decision

        if request.constraint is None:
            return answer("".join(self._random.choices("abc ", k=8)))
        return random_decision(request.constraint, self._random)


def _compact(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
