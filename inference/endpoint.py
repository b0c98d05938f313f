"""The contract of a model endpoint: messages and a constraint in, a stream of text out.

Implementations: `openai_compatible` (vLLM first), `embedded` (our own small model), and the twins of
`loopwright.testing` (scripted, random). The planner knows this file and no implementation.

What is made for every token or every step is a named tuple: a third of the cost of a frozen dataclass.
"""

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol, runtime_checkable

if TYPE_CHECKING:
    from .constraints.decision import DecisionConstraint

Role = Literal["system", "user", "assistant"]
FinishReason = Literal["stop", "length", "abort"]


class Message(NamedTuple):
    """One chat message. Messages are compared and cached by value, never changed."""

    role: Role
    content: str


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one completion, or a sum of several.

    Attributes:
        prompt_tokens: Tokens read, cached ones included.
        cached_tokens: The part of `prompt_tokens` that came from a prefix cache.
        completion_tokens: Tokens written, reasoning included.
    """

    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0

    @property
    def total_tokens(self) -> int:
        """Tokens read and written."""
        return self.prompt_tokens + self.completion_tokens

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(
            self.prompt_tokens + other.prompt_tokens,
            self.cached_tokens + other.cached_tokens,
            self.completion_tokens + other.completion_tokens,
        )


@dataclass(frozen=True, slots=True)
class Sampling:
    """How tokens are drawn. `None` leaves the server's default.

    Attributes:
        temperature: 0 is greedy.
        max_tokens: Most tokens of one completion; `None` asks the constraint for its longest text.
        seed: Same seed, same prompt, same server: same text, where the server can promise it.
    """

    temperature: float = 0.0
    max_tokens: int | None = None
    seed: int | None = None
    top_p: float | None = None


class CompletionRequest(NamedTuple):
    """One turn of the model.

    Attributes:
        messages: The whole prompt, oldest first.
        constraint: What the text must look like; `None` lets the model write freely.
        affinity: Requests of one run share this value; a router keeps them on one server.
        deadline_s: Seconds left for the whole completion; `None` means the endpoint's own limit.
    """

    messages: tuple[Message, ...]
    constraint: "DecisionConstraint | None" = None
    sampling: Sampling = Sampling()
    affinity: str = ""
    deadline_s: float | None = None


class Delta(NamedTuple):
    """A piece of a completion as it arrives; the last one carries `finish_reason`, and `usage` where it is known."""

    text: str = ""
    reasoning: str = ""
    finish_reason: FinishReason | None = None
    usage: Usage | None = None


@runtime_checkable
class Endpoint(Protocol):
    """One model that can be asked."""

    @property
    def name(self) -> str:
        """Short name for logs and journals, such as `vllm:qwen3-8b`."""
        ...

    @property
    def context_tokens(self) -> int | None:
        """The model's window in tokens, or `None` when unknown."""
        ...

    def stream(self, request: CompletionRequest) -> AsyncGenerator[Delta, None]:
        """Yield the completion as it is decoded.

        Closing the iterator aborts the completion at the server. Errors of the wire come as `EndpointError`s.
        """
        ...

    def count_tokens(self, messages: tuple[Message, ...]) -> int:
        """Return how long the prompt is, in tokens; an estimate where the tokenizer is not at hand."""
        ...

    async def aclose(self) -> None:
        """Release connections and threads. The endpoint cannot be used afterwards."""
        ...
