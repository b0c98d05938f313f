"""The one Redis client that the side stores share, and what becomes of its errors.

The journal has connections of its own (`journal/`): its commands wait out an outage. What stands beside it (threads,
keys, limits, metrics, schedules) asks once and says within four seconds that Redis is away.
"""

import asyncio
from types import TracebackType
from typing import Any

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, ConnectionError, NoScriptError, OutOfMemoryError, RedisError

from ..errors import JournalUnavailable, SettingsInvalid, StoreFull
from .journal.scripts import Script

TIMEOUT_S = 4.0
"""How long connecting, waiting for a connection and waiting for a reply may each take, in seconds."""

_CONNECTIONS = 16


def make_client(url: str, *, timeout_s: float = TIMEOUT_S) -> Redis:
    """Return a client for the side stores. Replies are bytes.

    A command whose connection broke is sent once more, so it must be safe to run twice; one that got no answer in
    time is not.

    Raises:
        SettingsInvalid: The text is no Redis URL.
    """
    try:
        pool = BlockingConnectionPool.from_url(
            url,
            protocol=2,
            decode_responses=False,
            socket_timeout=timeout_s,
            socket_connect_timeout=timeout_s,
            timeout=timeout_s,
            max_connections=_CONNECTIONS,
            retry=Retry(NoBackoff(), 1, (ConnectionError,)),
        )
    except ValueError as exc:
        raise SettingsInvalid("redis_url", f"not a Redis URL: {exc}") from exc
    return Redis.from_pool(pool)


class translated:
    """Turn the errors of Redis inside the block into ours: `async with translated(): ...`.

    Raises:
        StoreFull: Redis is out of memory.
        SettingsInvalid: It refuses the password.
        JournalUnavailable: Anything else, such as no answer in time.
        CancelledError: The task was cancelled meanwhile; redis-py swallows that while it connects.
    """

    __slots__ = ("_cancellations",)

    async def __aenter__(self) -> None:
        task = asyncio.current_task()
        self._cancellations = task.cancelling() if task else 0

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        task = asyncio.current_task()
        if task and task.cancelling() > self._cancellations and not isinstance(error, asyncio.CancelledError):
            raise asyncio.CancelledError
        if isinstance(error, RedisError | OSError):
            raise translation_of(error) from error


async def run_script(client: Redis, script: Script, keys: tuple[str, ...], *arguments: Any) -> Any:
    """Run a script and teach it to the server first where that does not know it; errors as in `translated`."""
    call: Any = client.execute_command
    given = (len(keys), *keys, *arguments)
    async with translated():
        try:
            return await call("EVALSHA", script.sha, *given)
        except NoScriptError:
            return await call("EVAL", script.text, *given)


def translation_of(error: RedisError | OSError) -> JournalUnavailable | SettingsInvalid | StoreFull:
    """Return our error for one of Redis."""
    if is_out_of_memory(error):
        return StoreFull("Redis is out of memory (maxmemory)")
    if is_refused_password(error):
        return SettingsInvalid("redis_url", f"Redis refuses the password: {error}")
    return JournalUnavailable(f"no answer from Redis ({type(error).__name__}: {error})")


def is_out_of_memory(error: BaseException) -> bool:
    """Say whether Redis refused a command for want of memory; inside a script the code stands in the middle."""
    text = str(error)
    return isinstance(error, OutOfMemoryError) or text.startswith("OOM") or "-OOM " in text


def is_refused_password(error: BaseException | None) -> bool:
    """Look for it behind the error of connecting, too: redis-py wraps it there."""
    while error is not None:
        if isinstance(error, AuthenticationError):
            return True
        error = error.__cause__ or error.__context__
    return False
