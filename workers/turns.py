"""Give other tenants their turn when one of them has filled a worker.

Lanes (`doorbell.py`) order what waits, but a slot is held until its run ends. So once a second a full worker looks
whether messages wait in lanes that hold less than an equal share of its slots, and has as many runs of the fullest
lanes handed over at their next step boundary: they ring again, behind their own lane. Nobody loses work by that, and
a tenant who is alone keeps every slot.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING

import structlog

from ..errors import LoopwrightError
from .doorbell import lane_of, waiting_by_lane

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from .runner import Runner

EVERY_S = 1.0
"""Seconds between two looks; a run is only asked to go when it was there at the last one, too."""

_log = structlog.get_logger(__name__)


class Turns:
    """Looks and asks; see above.

    Args:
        client: Tells what waits.
        runner: Whose runs are asked to go.
        slots: How many runs the worker drives.
        is_full: Whether all slots are taken.
    """

    def __init__(self, client: "Redis", runner: "Runner", *, slots: int, is_full: Callable[[], bool]) -> None:
        self._client = client
        self._runner = runner
        self._slots = slots
        self._is_full = is_full
        self._before: frozenset[str] = frozenset()

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            await asyncio.sleep(EVERY_S)
            try:
                await self.look()
            except LoopwrightError as exc:
                _log.info("turns_not_given", problem=str(exc))

    async def look(self) -> None:
        """Decide anew which runs are to go. Raises JournalUnavailable."""
        running = self._runner.running
        waiting = await waiting_by_lane(self._client) if self._is_full() else {}
        self._runner.ask_to_go(to_go(running, self._before, waiting, self._slots))
        self._before = frozenset(running)


def to_go(running: Sequence[str], may_go: Collection[str], waiting: Mapping[int, int], slots: int) -> list[str]:
    """Return the runs that are to make room.

    Args:
        running: Ids of the runs that are driven, those that were taken first come first.
        may_go: Those of them that have been there for a while.
        waiting: How many messages wait in each lane.
        slots: How many runs the worker drives.
    """
    by_lane: dict[int, list[str]] = {}
    for run_id in running:
        by_lane.setdefault(lane_of(run_id), []).append(run_id)
    held = Counter({lane: len(run_ids) for lane, run_ids in by_lane.items()})
    active = len(held.keys() | {lane for lane, number in waiting.items() if number})
    share = slots // max(1, active)
    wanted = sum(min(number, max(0, max(share, 1) - held[lane])) for lane, number in waiting.items())
    wanted -= max(0, slots - len(running))
    chosen: list[str] = []
    for _ in range(max(0, wanted)):
        fullest = max(held, key=lambda lane: held[lane])
        candidate = next((each for each in by_lane[fullest] if each in may_go and each not in chosen), None)
        if candidate is None or held[fullest] <= share:
            break
        chosen.append(candidate)
        held[fullest] -= 1
    return chosen
