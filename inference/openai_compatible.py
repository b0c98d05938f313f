"""An endpoint over HTTP: any server that speaks OpenAI's chat completions, vLLM first.

The hot path is httpx2 and raw JSON, without the openai SDK; docs/inference.md says what that saves per token.
"""

import asyncio
import contextlib
import random as random_module
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any, Literal

import httpx2

from ..errors import EndpointError, EndpointRefused, EndpointTimedOut
from .abilities import ANSWER_TOKENS, read_names, read_window, resolve_mode
from .completion import Completion, Timeouts
from .connection import Connection, checked_url
from .constraints.decision import DecisionConstraint
from .constraints.request import Mode, max_bytes, request_fields
from .endpoint import CompletionRequest, Delta, Message
from .estimate import TokenEstimate
from .reply import Reply
from .retry import RetryPolicy, with_retries
from .wire import Arrived, MessageEncoder, encode, request_body

ConstraintMode = Literal["auto", "vllm_grammar", "vllm_json", "response_format", "none"]

LEAST_TOKENS = 16
"""Room for a completion that is asked for even when the estimate says the prompt fills the window."""

CONSTRAINTS_KEPT = 64
"""Constraints whose encoded form an endpoint remembers."""


class OpenAICompatibleEndpoint:
    """One model of one server. Used on one event loop; holds connections until `aclose`.

    Args:
        base_url: Up to and including `/v1`. Credentials belong into `api_key`, not into the URL.
        model: The model's name at the server.
        api_key: Sent as a bearer token; appears in no repr, error or log.
        name: Short name for logs and journals; `model@host:port` when left out.
        constraint_mode: How a constraint travels; `auto` finds out at first use, once.
        context_tokens: The model's window; when left out, the server is asked at first use.
        timeouts: Seconds that are waited.
        retry: Retries before the first token.
        max_concurrency: Most completions at a time; further ones wait here, where their deadline still counts.
        transport: Takes the place of the network in tests.
        sleep: Waits between retries.
        random: Draws the jitter.
    """

    def __init__(
        self,
        base_url: str,
        model: str,
        *,
        api_key: str | None = None,
        name: str | None = None,
        constraint_mode: ConstraintMode = "auto",
        context_tokens: int | None = None,
        timeouts: Timeouts = Timeouts(),  # noqa: B008 - frozen
        retry: RetryPolicy = RetryPolicy(),  # noqa: B008 - frozen
        max_concurrency: int = 256,
        transport: httpx2.AsyncBaseTransport | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        random: Callable[[], float] = random_module.random,
    ) -> None:
        self._model = model
        self._name = name or f"{model}@{checked_url(base_url).netloc.decode()}"
        self._connection = Connection(
            base_url,
            self._name,
            api_key=api_key,
            connect_s=timeouts.connect_s,
            answer_s=timeouts.first_token_s,
            keep=max_concurrency,
            transport=transport,
        )
        self._mode: Mode | None = None if constraint_mode == "auto" else constraint_mode
        self._context_tokens = context_tokens
        self._is_ready = self._mode is not None and context_tokens is not None
        self._timeouts = timeouts
        self._retry = retry
        self._sleep = sleep
        self._random = random
        self._max_concurrency = max_concurrency
        self._slots = asyncio.Semaphore(max_concurrency)
        self._preparing = asyncio.Lock()
        self._model_json = encode(model)
        self._messages = MessageEncoder()
        self._estimate = TokenEstimate()
        self._constraints: dict[int, tuple[DecisionConstraint, bytes, int]] = {}

    def __repr__(self) -> str:
        return f"OpenAICompatibleEndpoint({self._connection.url!r}, {self._model!r}, mode={self._mode or 'auto'!r})"

    @property
    def name(self) -> str:
        """Short name for logs and journals."""
        return self._name

    @property
    def model(self) -> str:
        """The model's name at the server."""
        return self._model

    @property
    def connection(self) -> Connection:
        """The connection to the server, with its URL and its key."""
        return self._connection

    @property
    def mode(self) -> Mode | None:
        """How constraints travel; `None` until `auto` has found out."""
        return self._mode

    @property
    def context_tokens(self) -> int | None:
        """The model's window; `None` before the first use, or when the server does not tell."""
        return self._context_tokens

    def count_tokens(self, messages: tuple[Message, ...]) -> int:
        """Return an estimate of the prompt's tokens, corrected by the usage that the server has reported so far."""
        return self._estimate.count(messages)

    async def prepare(self) -> None:
        """Learn the model's window and the constraint mode, where they were not given; the first use does this, too.

        Raises:
            EndpointError: The server cannot be asked; the next use tries again.
        """
        if self._is_ready:
            return
        async with self._preparing:
            if self._is_ready:
                return
            if self._context_tokens is None:
                self._context_tokens = read_window(await self._models(), self._model)
            if self._mode is None:
                self._mode = await resolve_mode(self.ask)
            self._is_ready = True

    async def stream(self, request: CompletionRequest) -> AsyncGenerator[Delta, None]:
        """Yield the completion as it is decoded; see `Endpoint.stream`.

        Failures before the first token are retried; afterwards they are raised, because text cannot be taken back.

        Raises:
            EndpointUnavailable: Not reachable, overloaded or failing, also after the retries.
            EndpointRefused: The server will not take this request, `ContextTooLong` when it is too long.
            EndpointTimedOut: No token within the timeouts.
            StreamRunaway: The model repeated itself; the request was closed.
        """
        loop = asyncio.get_running_loop()
        total_by = loop.time() + (self._timeouts.total_s if request.deadline_s is None else request.deadline_s)
        await self._take_slot(total_by)
        try:
            completion, arrived = await with_retries(
                lambda: self._begin(request, total_by),
                self._retry,
                remaining_s=lambda: total_by - loop.time(),
                sleep=self._sleep,
                random=self._random,
            )
            try:
                reply = Reply(self._name, request, is_enforced=self._mode != "none")
                while not arrived.is_done:
                    yield reply.take(arrived)
                    arrived = await completion.next()
                last = reply.finish(arrived)
                if last.usage is not None:
                    self._estimate.learn(request.messages, last.usage.prompt_tokens)
                await completion.drain()
                yield last
            finally:
                await completion.aclose()
        except EndpointError as error:
            self._connection.strike_key(error)
            raise
        finally:
            self._slots.release()

    async def ask(self, fields: dict[str, Any]) -> str:
        """Return the text of a short completion with further body fields, without a stream and without retries."""
        body = {
            "model": self._model,
            "messages": [{"role": "user", "content": "Reply with the word OK."}],
            "max_tokens": ANSWER_TOKENS,
            "temperature": 0.0,
        }
        reply = await self._connection.exchange("POST", "/chat/completions", encode(body | fields))
        with contextlib.suppress(KeyError, IndexError, TypeError):
            return str(reply["choices"][0]["message"]["content"] or "")
        return ""

    async def first_model(self) -> str:
        """Return the name of the first model that the server lists.

        Raises:
            EndpointRefused: It lists none.
        """
        names = read_names(await self._models())
        if not names:
            raise EndpointRefused(self._name, "the server lists no model; name one")
        return names[0]

    async def aclose(self) -> None:
        """Close all connections. The endpoint cannot be used afterwards."""
        await self._connection.aclose()

    async def _begin(self, request: CompletionRequest, total_by: float) -> tuple[Completion, Arrived]:
        """Send the request and wait for the first token."""
        loop = asyncio.get_running_loop()
        first_by = total_by
        try:
            async with asyncio.timeout_at(total_by):
                await self.prepare()
            first_by = loop.time() + self._timeouts.first_token_s
            async with asyncio.timeout_at(min(first_by, total_by)):
                response = await self._connection.send("POST", "/chat/completions", self._body(request))
        except TimeoutError as error:
            raise EndpointTimedOut(self._name, self._timeouts.late(first_by, total_by)) from error
        completion = Completion(self._name, response, self._timeouts, first_by=first_by, total_by=total_by)
        try:
            return completion, await completion.next()
        except BaseException:
            await completion.aclose()
            raise

    def _body(self, request: CompletionRequest) -> bytes:
        fields, longest = b"", None
        if request.constraint is not None:
            fields, longest = self._constraint(request.constraint)
        wanted = request.sampling.max_tokens or longest
        if wanted is not None and self._context_tokens is not None:
            wanted = min(wanted, max(LEAST_TOKENS, self._context_tokens - self.count_tokens(request.messages)))
        messages = self._messages.encode(request.messages)
        return request_body(self._model_json, messages, fields, request.sampling, wanted)

    def _constraint(self, constraint: DecisionConstraint) -> tuple[bytes, int]:
        """Return the constraint as members of the body, and its longest text in bytes: more than that are no tokens."""
        known = self._constraints.get(id(constraint))
        if known is None:
            fields = {} if self._mode in (None, "none") else request_fields(constraint, self._mode)
            encoded = b"," + encode(fields)[1:-1] if fields else b""
            known = constraint, encoded, max_bytes(constraint)
            self._constraints[id(constraint)] = known  # holds the constraint, so that its id stays its own
            if len(self._constraints) > CONSTRAINTS_KEPT:
                del self._constraints[next(iter(self._constraints))]
        return known[1], known[2]

    async def _take_slot(self, total_by: float) -> None:
        try:
            async with asyncio.timeout_at(total_by):
                await self._slots.acquire()
        except TimeoutError as error:
            raise EndpointTimedOut(self._name, f"all {self._max_concurrency} slots were taken") from error

    async def _models(self) -> Any:
        """Return what `GET /models` lists; nothing where the server does not have it."""
        try:
            return await self._connection.exchange("GET", "/models")
        except EndpointRefused:
            return None
