"""The embedded model as an endpoint: decoded in threads of its own, so that the event loop never waits for it."""

import asyncio
import contextlib
import threading
import time
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property

from ...errors import ContextTooLong, EndpointTimedOut, EndpointUnavailable, LoopwrightError
from ..endpoint import CompletionRequest, Delta, FinishReason, Message, Usage
from .checkpoint import Checkpoint
from .codec import Codec
from .decoder import Decoder
from .network import Network, PrefixCache
from .sampler import Sampler

CACHED_TOKENS = 8192
"""Tokens whose keys and values are kept for later prompts, about 75 MB."""
LEAST_ROOM = 32
"""Tokens that a prompt must leave for its completion."""
DEADLINE_S = 120.0
"""Limit of a completion whose request names none."""


@dataclass(frozen=True)
class _Loaded:
    codec: Codec
    network: Network
    cache: PrefixCache


class EmbeddedEndpoint:
    """The small model that comes with the package, decoded on the CPU.

    Loading takes about half a second and happens at the first use, or in `prepare`.

    Args:
        checkpoint: Folder of the model; the shipped one when left out.
        name: Short name for logs and journals.
        workers: Completions decoded at the same time.
        threads: Threads that share one forward pass.
        cached_tokens: Tokens whose keys and values are kept between completions.
    """

    def __init__(
        self,
        checkpoint: Checkpoint | None = None,
        *,
        name: str = "embedded",
        workers: int = 2,
        threads: int = 1,
        cached_tokens: int = CACHED_TOKENS,
    ) -> None:
        self._checkpoint = checkpoint or Checkpoint()
        self._name = name
        self._threads = threads
        self._cached_tokens = cached_tokens
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix=name)
        self._lock = threading.Lock()
        self._closed = threading.Event()

    def __repr__(self) -> str:
        return f"EmbeddedEndpoint({self._name!r})"

    @property
    def name(self) -> str:
        """Short name for logs and journals."""
        return self._name

    @property
    def context_tokens(self) -> int:
        """The model's window in tokens."""
        return self._checkpoint.context_tokens

    async def prepare(self) -> None:
        """Load the model now instead of at the first completion.

        Raises:
            ExtraMissing: The extra `embedded` is not installed.
        """
        await asyncio.get_running_loop().run_in_executor(self._pool, self._load)

    def count_tokens(self, messages: tuple[Message, ...]) -> int:
        """Return how long the prompt is, in tokens."""
        return len(self._codec.prompt(messages))

    async def stream(self, request: CompletionRequest) -> AsyncGenerator[Delta, None]:
        """Yield the completion as it is decoded. Closing the iterator stops decoding at the next token.

        Raises:
            ExtraMissing: The extra `embedded` is not installed.
            ContextTooLong: The prompt leaves no room for a completion.
            EndpointTimedOut: The deadline passed.
            EndpointUnavailable: The endpoint is closed.
        """
        if self._closed.is_set():
            raise EndpointUnavailable(self._name, "closed")
        loop = asyncio.get_running_loop()
        arrived: asyncio.Queue[Delta | LoopwrightError] = asyncio.Queue()
        stopped = threading.Event()

        def put(item: Delta | LoopwrightError) -> None:
            if not stopped.is_set():
                with contextlib.suppress(RuntimeError):  # the loop has gone, and the reader with it
                    loop.call_soon_threadsafe(arrived.put_nowait, item)

        def note_closing(work: asyncio.Future[None]) -> None:
            if work.cancelled():
                arrived.put_nowait(EndpointUnavailable(self._name, "closed"))

        work = loop.run_in_executor(self._pool, self._work, request, put, stopped)
        work.add_done_callback(note_closing)
        try:
            while True:
                item = await arrived.get()
                if isinstance(item, LoopwrightError):
                    raise item
                yield item
                if item.finish_reason is not None:
                    return
        finally:
            stopped.set()
            work.cancel()  # only if it still waits for a thread; a running one stops at the next token

    async def aclose(self) -> None:
        """Stop what is being decoded and release the threads."""
        self._closed.set()
        await asyncio.to_thread(self._pool.shutdown, cancel_futures=True)

    @cached_property
    def _codec(self) -> Codec:
        return Codec(self._checkpoint.load_tokenizer())

    def _load(self) -> _Loaded:
        with self._lock:
            return self._loaded

    @cached_property
    def _loaded(self) -> _Loaded:
        session = self._checkpoint.load_session(threads=self._threads)
        network = Network(session, self._checkpoint.config)
        return _Loaded(self._codec, network, PrefixCache(network, self._cached_tokens))

    def _work(
        self, request: CompletionRequest, put: Callable[[Delta | LoopwrightError], None], stopped: threading.Event
    ) -> None:
        """Decode one completion; runs in a thread of the pool and never raises."""
        try:
            put(self._complete(request, put, stopped))
        except LoopwrightError as exc:
            put(exc)
        except Exception as exc:  # the outermost border of this thread: the awaiting side raises it
            failure = EndpointUnavailable(self._name, f"decoding failed ({type(exc).__name__})")
            failure.__cause__ = exc
            put(failure)

    def _complete(
        self, request: CompletionRequest, put: Callable[[Delta | LoopwrightError], None], stopped: threading.Event
    ) -> Delta:
        ends = time.monotonic() + (DEADLINE_S if request.deadline_s is None else request.deadline_s)
        loaded = self._load()
        prompt = loaded.codec.prompt(request.messages)
        room = self.context_tokens - len(prompt)
        if room < LEAST_ROOM:
            raise ContextTooLong(self._name, f"{len(prompt)} of {self.context_tokens} tokens")

        def should_stop() -> bool:
            if time.monotonic() > ends:
                raise EndpointTimedOut(self._name, "the deadline passed while decoding")
            return stopped.is_set() or self._closed.is_set()

        with self._lock:
            sequence = loaded.cache.take(prompt)
        cached = len(sequence.tokens)
        decoder = Decoder(
            loaded.codec,
            sequence,
            Sampler(request.sampling),
            emit=lambda text: put(Delta(text)),
            should_stop=should_stop,
            most_tokens=min(room, request.sampling.max_tokens or room),
        )
        reason: FinishReason = decoder.run(prompt, request.constraint)
        with self._lock:
            loaded.cache.give(sequence)
        usage = Usage(len(prompt), cached, decoder.written)
        return Delta(finish_reason=reason, usage=usage)
