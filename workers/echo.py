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
        worker_id: Whose queue it is.
        is_full: Whether the worker takes no message now because it has enough to do.
        every_s: Seconds between two echoes.
        patience_s: Seconds of silence that are tolerated.
    """

    def __init__(
        self,
        worker_id: str,
        *,
        is_full: Callable[[], bool],
        every_s: float | None = None,
        patience_s: float | None = None,
    ) -> None:
        self._worker_id = worker_id
        self._is_full = is_full
        self._every_s = EVERY_S if every_s is None else every_s
        self._patience_s = PATIENCE_S if patience_s is None else patience_s
        self._token = ""
        self._rest_s = 0.0
        self._silent_s = 0.0

    def heard(self, token: str) -> None:
        """Note that an echo was taken. May be called from any thread."""
        if token == self._token:
            self._token = ""

    async def run(self, client: "Redis", doorbell: Doorbell, on_deaf: Callable[[], None]) -> None:
        """Ring and listen until cancelled, or until the worker turns out to be deaf."""
        while not await self.look(client, doorbell, TICK_S):
            await asyncio.sleep(TICK_S)
        on_deaf()

    async def look(self, client: "Redis", doorbell: Doorbell, passed_s: float) -> bool:
        """Ring if it is time to, count the silence, and return whether the worker is deaf.

        Args:
            client: Tells whether Redis answers.
            doorbell: Rings.
            passed_s: Seconds since the last look.
        """
        if not self._token:
            self._rest_s -= passed_s
            if self._rest_s <= 0:
                self._token, self._rest_s, self._silent_s = secrets.token_hex(8), self._every_s, 0.0
                await doorbell.ring_echo(self._worker_id, self._token)
            return False
        if self._is_full() or not await _answers(client):
            return False
        before = self._silent_s
        self._silent_s += passed_s
        if self._silent_s >= self._patience_s:
            _log.error("worker_deaf", worker=self._worker_id, silent_s=round(self._silent_s))
            return True
        if before // self._every_s != self._silent_s // self._every_s:
            await doorbell.ring_echo(self._worker_id, self._token)  # the first one may be lost with a connection
        return False


async def _answers(client: Any) -> bool:
    try:
        async with translated():
            return bool(await client.ping())
    except LoopwrightError:
        return False
