"""The models of a worker process: one endpoint per model name, opened at first use, shared by its runs."""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..errors import EndpointError, EndpointRefused, EndpointUnavailable, LoopwrightError
from ..inference.connect import connect
from ..inference.endpoint import CompletionRequest, Delta, Endpoint, Message

if TYPE_CHECKING:
    from ..agents.agent import Agent
    from ..settings import Settings

Observe = Callable[[float], None]

KEPT = 16
"""Models that stay open while nobody asks them; each holds connections and most of a megabyte."""


@dataclass(slots=True)
class _Opened:
    endpoint: Endpoint
    stack: AsyncExitStack
    users: int = 0


class Endpoints:
    """Finds the endpoint of a run. Belongs to one event loop.

    A model that nobody asks stays open for the next run, the `KEPT` used last do: whoever submits a run may name any.

    Args:
        settings: Where the model server is.
    """

    def __init__(self, settings: "Settings") -> None:
        self._settings = settings
        self._opened: dict[str | None, _Opened] = {}
        self._opening = asyncio.Lock()

    @asynccontextmanager
    async def of(self, agent: "Agent[Any]", model: str | None) -> AsyncIterator[Endpoint]:
        """Yield the model that a run asks: the one it names, else its agent's, else the settings'.

        Raises nothing of its own: one that cannot be opened fails when it is asked, as a model does that is away.
        """
        if model is None and agent.model is not None and not isinstance(agent.model, str):
            yield agent.model
            return
        name: Any = model or agent.model
        opened: _Opened | None = None
        try:
            opened = await self._take(name)
            endpoint = opened.endpoint
        except LoopwrightError as exc:
            endpoint = Closed(exc)
        try:
            yield endpoint
        finally:
            if opened is not None:
                await self._give_back(opened)

    @asynccontextmanager
    async def borrow(self, model: str) -> AsyncIterator[Endpoint]:
        """Yield the endpoint of a model by name; it stays open. Raises what `connect` raises."""
        opened = await self._take(model)
        try:
            yield opened.endpoint
        finally:
            await self._give_back(opened)

    @property
    def open(self) -> int:
        """How many models are open."""
        return len(self._opened)

    async def aclose(self) -> None:
        """Close all endpoints."""
        while self._opened:
            _, each = self._opened.popitem()
            await each.stack.aclose()

    async def _take(self, model: str | None) -> _Opened:
        if model not in self._opened:
            async with self._opening:
                if model not in self._opened:
                    stack = AsyncExitStack()
                    endpoint = await stack.enter_async_context(connect(model, self._settings))
                    self._opened[model] = _Opened(endpoint, stack)
        found = self._opened[model] = self._opened.pop(model)  # the last one of the dict is the one used last
        found.users += 1
        return found

    async def _give_back(self, opened: _Opened) -> None:
        opened.users -= 1
        if len(self._opened) <= KEPT:
            return
        idle = [name for name, each in self._opened.items() if not each.users]
        spare = [self._opened.pop(name) for name in idle[: max(0, len(idle) - KEPT)]]
        for each in spare:
            await each.stack.aclose()


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
