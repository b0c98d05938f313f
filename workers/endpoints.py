"""The models of a worker process: one endpoint per model name, opened at first use, shared by all runs."""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

from ..errors import EndpointError, EndpointRefused, EndpointUnavailable, LoopwrightError
from ..inference.connect import connect
from ..inference.endpoint import CompletionRequest, Delta, Endpoint, Message

if TYPE_CHECKING:
    from ..agents.agent import Agent
    from ..settings import Settings

Observe = Callable[[float], None]


class Endpoints:
    """Finds the endpoint of a run. Belongs to one event loop.

    Args:
        settings: Where the model server is.
    """

    def __init__(self, settings: "Settings") -> None:
        self._settings = settings
        self._opened: dict[str | None, Endpoint] = {}
        self._opening = asyncio.Lock()
        self._stack = AsyncExitStack()

    async def of(self, agent: "Agent[Any]", model: str | None) -> Endpoint:
        """Return the model that a run asks: the one it names, else its agent's, else the settings'.

        Never raises: one that cannot be opened fails when it is asked, as a model does that is away.
        """
        if model is None and agent.model is not None and not isinstance(agent.model, str):
            return agent.model
        try:
            return await self._get(model or agent.model)
        except LoopwrightError as exc:
            return Closed(exc)

    @asynccontextmanager
    async def borrow(self, model: str) -> AsyncIterator[Endpoint]:
        """Yield the endpoint of a model by name; it stays open. Raises what `connect` raises."""
        yield await self._get(model)

    async def aclose(self) -> None:
        """Close all endpoints."""
        await self._stack.aclose()

    async def _get(self, model: Any) -> Endpoint:
        found = self._opened.get(model)
        if found is None:
            async with self._opening:
                found = self._opened.get(model)
                if found is None:
                    found = await self._stack.enter_async_context(connect(model, self._settings))
                    self._opened[model] = found
        return found


class Measured:
    """An endpoint whose completions are timed."""

    def __init__(self, endpoint: Endpoint, observe: Observe) -> None:
        self._endpoint = endpoint
        self._observe = observe

    @property
    def name(self) -> str:
        """Short name for logs and journals."""
        return self._endpoint.name

    @property
    def context_tokens(self) -> int | None:
        """The model's window, or `None` when unknown."""
        return self._endpoint.context_tokens

    async def stream(self, request: CompletionRequest) -> AsyncGenerator[Delta, None]:
        """Yield the completion; see `Endpoint.stream`."""
        started = time.monotonic()
        stream = self._endpoint.stream(request)
        try:
            async for delta in stream:
                yield delta
        finally:
            await stream.aclose()
            self._observe(time.monotonic() - started)

    def count_tokens(self, messages: tuple[Message, ...]) -> int:
        """Return how long the prompt is, in tokens."""
        return self._endpoint.count_tokens(messages)

    async def aclose(self) -> None:
        """Leave the endpoint open: it is shared."""


class Closed:
    """Stands for a model that could not be opened."""

    name = "closed"
    context_tokens: int | None = None

    def __init__(self, error: LoopwrightError) -> None:
        known = isinstance(error, EndpointError)
        self._error = error if known else EndpointRefused("model", str(error))
        if known and error.retryable:
            self._error = EndpointUnavailable(getattr(error, "endpoint", "model"), getattr(error, "problem", ""))

    async def stream(self, request: CompletionRequest) -> AsyncGenerator[Delta, None]:
        """Raise why there is no model."""
        raise self._error
        yield Delta()

    def count_tokens(self, messages: tuple[Message, ...]) -> int:
        """Return nothing worth knowing."""
        return 0

    async def aclose(self) -> None:
        """Nothing to release."""
