"""Coalescing: everything that gathers during one round trip to Redis leaves together in the next.

Every command that comes here is safe to repeat, so a pipe sends again what got no answer, until the command's
deadline. Callers that are cancelled do not touch the connection: they only stop waiting.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import structlog
from redis.exceptions import (
    ClusterDownError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TryAgainError,
)

from ...errors import JournalUnavailable, LoopwrightError, SettingsInvalid, StoreFull
from ..client import is_out_of_memory, is_refused_password
from .wire import Command, Wire

_log = structlog.get_logger(__name__)

PASSING = ("OOM", "READONLY", "MISCONF", "TRYAGAIN", "MASTERDOWN", "NOREPLICAS", "BUSY", "CLUSTERDOWN", "NOSCRIPT")
"""Codes of error replies that a server gives in a state that passes: wait and send again."""

REFUSING = ("OOM", "READONLY", "MISCONF", "NOREPLICAS")
"""Those among them that say that the server takes no writes: whoever is impatient is told at once."""

_BACKOFF_S = (0.01, 0.5)
"""First and longest wait before sending again, in seconds; doubled in between, with full jitter."""

_PASSING_TYPES = (NoScriptError, OutOfMemoryError, ReadOnlyError, TryAgainError, ClusterDownError)


@dataclass(slots=True)
class Parcel:
    """A command on its way.

    Attributes:
        command: What to send.
        deadline: Moment of the monotonic clock after which it is not sent again.
        done: Called once, with the reply or the error.
        size: Bytes, about.
        durable: Whether the reply counts only once a replica has it, in a mode that asks for that.
        patient: Whether to wait while the server takes no writes.
        answered: Whether `done` was called.
    """

    command: Command
    deadline: float
    done: Callable[[Any, LoopwrightError | None], None]
    size: int = 64
    durable: bool = False
    patient: bool = True
    answered: bool = False

    def answer(self, reply: Any, error: LoopwrightError | None = None) -> None:
        """Call `done`, the first time only."""
        if not self.answered:
            self.answered = True
            self.done(reply, error)


class Pipe:
    """A queue of commands before one connection.

    Args:
        wire: The connection.
        recover: Called before sending again when the server knows none of our scripts: it was restarted.
        gather: Asked for more parcels at the start of each round.
        wait_replicas: Milliseconds that durable commands wait for a replica; `None`: they do not.
        max_bytes: About how many bytes one round may carry.
    """

    def __init__(
        self,
        wire: Wire,
        *,
        recover: Callable[[Wire], Awaitable[None]],
        gather: Callable[[], list[Parcel]] = list,
        wait_replicas: int | None = None,
        max_bytes: int = 4 << 20,
    ) -> None:
        self._wire = wire
        self._recover = recover
        self._gather = gather
        self._wait_replicas = wait_replicas
        self._max_bytes = max_bytes
        self._queue: list[Parcel] = []
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._failures = 0
        self.rounds = 0

    async def call(self, *command: Any, timeout_s: float, durable: bool = False, patient: bool = True) -> Any:
        """Send one command and return its reply; see `call_each` and `Parcel`."""
        (reply,) = await self.call_each([command], timeout_s=timeout_s, durable=durable, patient=patient)
        return reply

    async def call_each(
        self, commands: Sequence[Command], *, timeout_s: float, durable: bool = False, patient: bool = True
    ) -> list[Any]:
        """Send commands in this order, repeat them while the server is away, return their replies.

        Raises:
            JournalUnavailable: No answer within `timeout_s`, or the server refuses a command.
            StoreFull: It has no memory left, and the command is not patient.
            SettingsInvalid: The server refuses the password.
        """
        future: asyncio.Future[list[Any]] = asyncio.get_running_loop().create_future()
        replies: list[Any] = [None] * len(commands)
        left = len(commands)
        deadline = time.monotonic() + timeout_s

        def done(index: int, reply: Any, error: LoopwrightError | None) -> None:
            nonlocal left
            replies[index] = reply
            left -= 1
            if not future.done():
                if error:
                    future.set_exception(error)
                elif not left:
                    future.set_result(replies)

        self._queue += [
            Parcel(each, deadline, partial(done, index), durable=durable, patient=patient)
            for index, each in enumerate(commands)
        ]
        self.wake()
        return await future

    def wake(self) -> None:
        """Start a round as soon as the one in flight is back."""
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run(), name="journal-pipe")
        self._wake.set()

    async def aclose(self) -> None:
        """Stop; commands that are still queued fail."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
        self._fail(self._queue, JournalUnavailable("the journal is closed"))
        self._queue = []
        await self._wire.drop()

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            self._queue += self._gather()
            while self._queue:
                parcels = self._take()
                try:
                    await self._round(parcels)
                except asyncio.CancelledError:
                    self._fail(parcels, JournalUnavailable("the journal is closed"))
                    raise
                except Exception as exc:  # the outermost border of this task: callers must not wait for ever
                    _log.exception("journal_pipe_broken", error=type(exc).__name__)
                    self._fail(parcels, JournalUnavailable(f"unexpected {type(exc).__name__}"))
                self._queue += self._gather()

    def _take(self) -> list[Parcel]:
        """Split off as many parcels as one round carries."""
        size = count = 0
        for parcel in self._queue:
            size += parcel.size
            if count and size > self._max_bytes:
                break
            count += 1
        taken, self._queue = self._queue[:count], self._queue[count:]
        return taken

    async def _round(self, parcels: list[Parcel]) -> None:
        commands = [parcel.command for parcel in parcels]
        waits = self._wait_replicas is not None and any(parcel.durable for parcel in parcels)
        if waits:
            commands.append(("WAIT", 1, self._wait_replicas))
        self.rounds += 1
        try:
            replies = await self._wire.exchange(commands)
        except (RedisError, OSError) as exc:
            if is_refused_password(exc):
                self._fail(parcels, SettingsInvalid("redis_url", f"Redis refuses the password: {exc}"))
            else:
                await self._again(parcels, exc)
            return
        lonely = waits and replies[-1] == 0
        again: list[Parcel] = []
        cause: Exception | None = None
        for parcel, reply in zip(parcels, replies, strict=False):
            if isinstance(reply, ResponseError):
                if _passes(reply) and (parcel.patient or not _has_code(reply, REFUSING)):
                    again.append(parcel)
                    cause = reply
                elif _passes(reply):
                    parcel.answer(None, _refusal(reply))
                else:
                    parcel.answer(None, JournalUnavailable(f"Redis refuses {parcel.command[0]}: {reply}"))
            elif lonely and parcel.durable:
                again.append(parcel)
                cause = cause or ResponseError("no replica has it")
            else:
                parcel.answer(reply)
        if cause is None:
            self._failures = 0
        else:
            await self._again(again, cause)

    async def _again(self, parcels: list[Parcel], cause: Exception) -> None:
        """Put parcels back before all others after a pause; those past their deadline fail."""
        now = time.monotonic()
        late = [parcel for parcel in parcels if parcel.deadline <= now]
        self._fail(late, JournalUnavailable(f"no answer from Redis in time ({type(cause).__name__}: {cause})"))
        self._queue = [parcel for parcel in parcels if parcel.deadline > now] + self._queue
        if isinstance(cause, NoScriptError) and await self._recovered():
            return
        first, longest = _BACKOFF_S
        pause = random.uniform(0, min(longest, first * 2**self._failures))
        self._failures = min(self._failures + 1, 16)
        if self._failures in (1, 8):
            _log.warning("journal_redis_away", error=type(cause).__name__, detail=str(cause)[:200])
        await asyncio.sleep(pause)

    async def _recovered(self) -> bool:
        try:
            await self._recover(self._wire)
        except (RedisError, OSError):
            return False
        except LoopwrightError as exc:  # the server came back with settings under which the mode cannot be kept
            failed, self._queue = self._queue, []
            self._fail(failed, JournalUnavailable(str(exc)))
        return True

    @staticmethod
    def _fail(parcels: list[Parcel], error: LoopwrightError) -> None:
        for parcel in parcels:
            parcel.answer(None, error)


def _passes(error: ResponseError) -> bool:
    """Say whether sending again may help."""
    return isinstance(error, _PASSING_TYPES) or _has_code(error, PASSING)


def _has_code(error: ResponseError, codes: tuple[str, ...]) -> bool:
    """Look for a code. Redis 6 wraps that of a script's failing call in its own text; redis-py types some."""
    text = str(error)
    typed = (ReadOnlyError, OutOfMemoryError) if codes is REFUSING else ()
    return isinstance(error, typed) or text.startswith(codes) or any(f"-{code} " in text for code in codes)


def _refusal(error: ResponseError) -> LoopwrightError:
    if is_out_of_memory(error):
        return StoreFull("Redis is out of memory (maxmemory)")
    return JournalUnavailable(f"Redis takes no writes now ({error})")
