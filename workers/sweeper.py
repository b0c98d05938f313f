"""Ring again for runs that are due: what Celery, Redis or a dead worker let fall is picked up here.

Every worker sweeps once a second, without a leader. `Journal.due_runs` pushes each run that it returns back by some
seconds, in the same script, so that two sweepers do not ring for the same run; a run that has ended is never listed
again. A sweep that rings in vain costs a message and a round trip.

What is due is rung for only while the queues are shorter than what is free here. A long queue means that workers have
enough to do, and mostly the rings of these very runs are in it.
"""

import asyncio
import random
from collections.abc import Callable
from typing import TYPE_CHECKING

import structlog

from ..errors import LoopwrightError
from .doorbell import Doorbell, backlog

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from ..memory.journal.contract import Journal

EVERY_S = 1.0
"""Seconds between two sweeps."""

MOST = 500
"""Runs that one sweep rings for."""

_log = structlog.get_logger(__name__)


class Sweeper:
    """Sweeps; see above.

    Args:
        journal: Knows what is due.
        client: Asked how long the queues are.
        doorbell: Rings.
        free: Returns how many more runs this worker could take now.
        every_s: Seconds between two sweeps, about.
    """

    def __init__(
        self,
        journal: "Journal",
        client: "Redis",
        doorbell: Doorbell,
        *,
        free: Callable[[], int],
        every_s: float = EVERY_S,
    ) -> None:
        self._journal = journal
        self._client = client
        self._doorbell = doorbell
        self._free = free
        self._every_s = every_s

    async def run(self) -> None:
        """Sweep until cancelled. While Redis is away nothing is swept."""
        is_away = False
        while True:
            await asyncio.sleep(self._every_s * random.uniform(0.8, 1.2))
            try:
                await self.sweep()
                is_away = False
            except LoopwrightError as exc:
                if not is_away:
                    _log.warning("sweep_failed", problem=str(exc))
                is_away = True

    async def sweep(self) -> int:
        """Ring for runs that are due; return for how many.

        Raises:
            JournalUnavailable: Redis gave no answer.
        """
        free = self._free()
        if free <= 0:
            return 0
        room = min(free - await backlog(self._client), MOST)
        if room <= 0:
            return 0
        due = await self._journal.due_runs(limit=room)
        for run_id, priority in due:
            self._doorbell.ring_soon(run_id, priority)
        return len(due)
