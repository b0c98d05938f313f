"""One connection to Redis that carries whole pipelines, and stays usable whatever is cancelled around it."""

import asyncio
from collections.abc import Sequence
from typing import Any, cast

from redis.asyncio import ConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ResponseError

from ...errors import SettingsInvalid

Command = tuple[Any, ...]
"""A Redis command: name and arguments."""


class Wire:
    """A connection of our own, opened at first use and again after every failure.

    Args:
        pool: Knows address, password and timeouts; the connection is not one of the pool's.
    """

    def __init__(self, pool: ConnectionPool) -> None:
        self._connection: Any = cast(Any, pool).make_connection()

    async def exchange(self, commands: Sequence[Command]) -> list[Any]:
        """Send commands in one write and return their replies in order; an error reply is returned as a value.

        Raises:
            redis.exceptions.RedisError: The connection failed; nothing is known about any of the commands.
        """
        task = asyncio.current_task()
        cancellations = task.cancelling() if task else 0
        done = False
        try:
            replies = await self._exchange(commands)
            done = True
            return replies
        finally:
            if not done:  # also when cancelled: a reply that nobody read must never answer the next command
                await self.drop()
            if task and task.cancelling() > cancellations:  # redis-py swallows a cancellation while it connects
                raise asyncio.CancelledError

    async def _exchange(self, commands: Sequence[Command]) -> list[Any]:
        connection = self._connection
        await connection.send_packed_command(connection.pack_commands(commands))
        replies: list[Any] = []
        for _ in commands:
            try:
                replies.append(await connection.read_response(disable_decoding=True))
            except ResponseError as exc:
                replies.append(exc)
        return replies

    async def drop(self) -> None:
        """Close the connection at once; the next exchange opens a new one."""
        await self._connection.disconnect(nowait=True)


def make_pool(server: str | Redis, timeout_s: float) -> ConnectionPool:
    """Return a pool that knows the address. Its connections never retry by themselves: the pipes do.

    Args:
        server: URL, or a client whose address and credentials are taken.
        timeout_s: How long a reply may take.

    Raises:
        SettingsInvalid: The text is no Redis URL.
    """
    options: dict[str, Any] = {
        "protocol": 2,
        "socket_timeout": timeout_s,
        "socket_connect_timeout": timeout_s,
        "retry": Retry(NoBackoff(), 0),
        "decode_responses": False,
    }
    if isinstance(server, str):
        try:
            return ConnectionPool.from_url(server, **options)
        except ValueError as exc:
            raise SettingsInvalid("redis_url", f"not a Redis URL: {exc}") from exc
    known = server.connection_pool
    return ConnectionPool(connection_class=known.connection_class, **{**known.connection_kwargs, **options})
