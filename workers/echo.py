"""Notice that this worker is deaf: alive, connected, and yet no message reaches it.

Connections to a Redis that was restarted, failed over or cut off can look sound for ever. So a worker rings for itself
through a queue of its own, and whoever does not hear that within half a minute, although Redis answers and a message
could be taken, starts anew. kombu's own checks mend most of this within a quarter of a minute; this is the proof.
"""

import asyncio
import secrets
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import structlog

from ..errors import LoopwrightError
from ..memory.client import translated
from .doorbell import Doorbell

if TYPE_CHECKING:
    from redis.asyncio import Redis

EVERY_S = 10.0
"""Seconds between two echoes."""

PATIENCE_S = 30.0
"""Seconds of silence after which a worker counts as deaf."""

TICK_S = 1.0

_log = structlog.get_logger(__name__)


class Echo:
    """Rings for its own worker and listens.

    Args:
        client: Tells whether Redis answers.
        doorbell: Rings.
        worker_id: Whose queue it is.
        is_full: Whether the worker takes no message now because it has enough to do.
        on_deaf: Called once, when nothing was heard for too long.
        every_s: Seconds between two echoes.
        patience_s: Seconds of silence that are tolerated.
        tick_s: Seconds between two looks.
    """

    def __init__(
        self,
        client: "Redis",
        doorbell: Doorbell,
        worker_id: str,
        *,
        is_full: Callable[[], bool],
        on_deaf: Callable[[], None],
        every_s: float | None = None,
        patience_s: float | None = None,
        tick_s: float = TICK_S,
    ) -> None:
        self._client: Any = client
        self._doorbell = doorbell
        self._worker_id = worker_id
        self._is_full = is_full
        self._on_deaf = on_deaf
        self._every_s = EVERY_S if every_s is None else every_s
        self._patience_s = PATIENCE_S if patience_s is None else patience_s
        self._tick_s = tick_s
        self._loop = asyncio.get_running_loop()
        self._token = ""
        self._silent_s = 0.0

    def heard(self, token: str) -> None:
        """Note that an echo was taken. May be called from any thread."""
        self._loop.call_soon_threadsafe(self._take, token)

    async def run(self) -> None:
        """Ring and listen until cancelled, or until the worker turns out to be deaf."""
        while True:
            await self._ring()
            await asyncio.sleep(self._every_s)
            while self._token:
                if self._silent_s >= self._patience_s:
                    _log.error("worker_deaf", worker=self._worker_id, silent_s=round(self._silent_s))
                    self._on_deaf()
                    return
                await asyncio.sleep(self._tick_s)
                await self._listen()

    async def _ring(self) -> None:
        self._token, self._silent_s = secrets.token_hex(8), 0.0
        await self._doorbell.ring_echo(self._worker_id, self._token)

    async def _listen(self) -> None:
        """Count the silence, but for times in which nobody could have heard anything."""
        if not await self._redis_answers() or self._is_full():
            return
        before = self._silent_s
        self._silent_s += self._tick_s
        if before // self._every_s != self._silent_s // self._every_s:
            await self._doorbell.ring_echo(self._worker_id, self._token)  # the first one may be lost with a connection

    async def _redis_answers(self) -> bool:
        try:
            async with translated():
                return bool(await self._client.ping())
        except LoopwrightError:
            return False

    def _take(self, token: str) -> None:
        if token == self._token:
            self._token = ""
