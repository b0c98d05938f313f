"""An endpoint behind a client of the openai SDK, for hosted providers that need its authentication, such as Azure.

    endpoint = SdkEndpoint(openai.AsyncAzureOpenAI(azure_endpoint=…, api_version=…), "my-deployment")

The SDK costs several times the CPU per token of `OpenAICompatibleEndpoint` (docs/inference.md), so a server for which a
URL and a key are enough belongs there. The SDK is the caller's: this file imports it only to name its errors.
"""

from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING, Any

from ..errors import EndpointError, EndpointTimedOut, EndpointUnavailable
from .constraints.request import max_bytes, request_fields
from .endpoint import CompletionRequest, Delta, FinishReason, Message
from .estimate import TokenEstimate
from .faults import from_status
from .stream_guard import StreamGuard
from .wire import read_usage

if TYPE_CHECKING:
    from openai import AsyncOpenAI


class SdkEndpoint:
    """A model behind an `openai.AsyncOpenAI` or `openai.AsyncAzureOpenAI` client.

    Constraints travel as `response_format`; what comes back is checked in full like any other reply.

    Args:
        client: A client that is set up; its retries and timeouts apply. It is closed with the endpoint.
        model: Name of the model, or of the deployment.
        name: Short name for logs and journals; the model's when left out.
        context_tokens: The model's window, when known.
    """

    def __init__(
        self, client: "AsyncOpenAI", model: str, *, name: str | None = None, context_tokens: int | None = None
    ) -> None:
        self.name = name or model
        self.context_tokens = context_tokens
        self._client = client
        self._model = model
        self._estimate = TokenEstimate()

    def __repr__(self) -> str:
        return f"SdkEndpoint({self.name!r})"

    async def stream(self, request: CompletionRequest) -> AsyncGenerator[Delta, None]:
        """Yield the completion as it is decoded; closing the iterator closes the request.

        Raises:
            EndpointError: As every endpoint; the SDK's own errors do not come through.
        """
        import openai

        guard = StreamGuard(self.name, json=request.constraint is not None)
        try:
            async with await self._client.chat.completions.create(**self._fields(request)) as chunks:
                async for chunk in chunks:
                    if delta := _delta(chunk):
                        if delta.text:
                            guard.feed(delta.text)
                        if delta.usage:
                            self._estimate.learn(request.messages, delta.usage.prompt_tokens)
                        yield delta
        except openai.OpenAIError as exc:
            raise self._translated(exc) from exc

    def count_tokens(self, messages: tuple[Message, ...]) -> int:
        """Return an estimate that every reply's usage corrects."""
        return self._estimate.count(messages)

    async def aclose(self) -> None:
        """Close the client."""
        await self._client.close()

    def _fields(self, request: CompletionRequest) -> dict[str, Any]:
        sampling, constraint = request.sampling, request.constraint
        most = sampling.max_tokens or (max_bytes(constraint) if constraint else None)
        given: dict[str, Any] = {
            "max_completion_tokens": most,
            "seed": sampling.seed,
            "temperature": sampling.temperature,
            "timeout": request.deadline_s,
            "top_p": sampling.top_p,
        }
        return {
            "model": self._model,
            "messages": [{"role": each.role, "content": each.content} for each in request.messages],
            "stream": True,
            "stream_options": {"include_usage": True},
            **{name: value for name, value in given.items() if value is not None},
            **(request_fields(constraint, "response_format") if constraint else {}),
        }

    def _translated(self, error: Exception) -> EndpointError:
        import openai

        if isinstance(error, openai.APIStatusError):
            return from_status(
                self.name, error.status_code, error.response.content, error.response.headers.get("retry-after")
            )
        if isinstance(error, openai.APITimeoutError):
            return EndpointTimedOut(self.name, "no answer in time")
        return EndpointUnavailable(self.name, type(error).__name__)


def _delta(chunk: Any) -> Delta | None:
    """Return a chunk of the SDK as ours; `None` when there is nothing in it."""
    usage = read_usage(chunk.usage.model_dump()) if chunk.usage else None
    if not chunk.choices:
        return Delta(usage=usage) if usage else None
    choice = chunk.choices[0]
    finish: FinishReason | None = None
    if choice.finish_reason:
        finish = "length" if choice.finish_reason == "length" else "stop"
    return Delta(choice.delta.content or "", getattr(choice.delta, "reasoning_content", None) or "", finish, usage)
