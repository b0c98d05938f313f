"""One connection to Redis that carries whole pipelines, and stays usable whatever is cancelled around it."""

from collections.abc import Sequence
from typing import Any, cast

from redis.asyncio import ConnectionPool
from redis.exceptions import ResponseError

Command = tuple[Any, ...]
"""A Redis command: name and arguments."""


class Wire:
    """A connection of our own, opened at first use and again after every failure.

    Args:
        pool: Knows address, password and timeouts; the connection is not one of the pool's.
    """

    def __init__(self, pool: ConnectionPool) -> None:
        self._connection: Any = cast(Any, pool).make_connection()

    async def exchange(self, commands: Sequence[Command], *, timeout_s: float | None = None) -> list[Any]:
        """Send commands in one write and return their replies in order; an error reply is returned as a value.

        Args:
            commands: What to send.
            timeout_s: How long one reply may take; `None`: as the pool says.

        Raises:
            redis.exceptions.RedisError: The connection failed; nothing is known about any of the commands.
        """
        connection = self._connection
        options = {} if timeout_s is None else {"timeout": timeout_s}
        done = False
        try:
            packed = connection.pack_commands(commands)
            await connection.send_packed_command(packed)
            replies: list[Any] = []
            for _ in commands:
                try:
                    replies.append(await connection.read_response(disable_decoding=True, **options))
                except ResponseError as exc:
                    replies.append(exc)
            done = True
            return replies
        finally:
            if not done:  # also when cancelled: a reply that nobody read must never answer the next command
                await self.drop()

    async def drop(self) -> None:
        """Close the connection at once; the next exchange opens a new one."""
        await self._connection.disconnect(nowait=True)
