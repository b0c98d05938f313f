"""`Prefer: wait=N`: an answer that waits for the run, up to a minute, and not beyond the life of the server."""

import asyncio
import contextlib
import re

from ..errors import RunNotFound
from ..memory.journal.contract import Journal, Snapshot
from ..planner.events import FINAL, PEOPLE, CallFinished, CallReviewed, RunWaiting

MAX_WAIT_S = 60
"""Longest wait, in seconds; a longer one is cut."""

_WAIT = re.compile(r"(?:^|[,;])\s*wait\s*=\s*\"?([0-9]{1,9})\"?\s*(?=$|[,;])", re.IGNORECASE)


def wait_of(prefer: str | None) -> int:
    """Return the seconds that a `Prefer` header asks to wait; 0 when it does not."""
    found = _WAIT.search(prefer or "")
    return min(int(found[1]), MAX_WAIT_S) if found else 0


class Waiters:
    """Requests that wait for their run. `stop` makes them all answer with what there is."""

    def __init__(self) -> None:
        self._timeouts: set[asyncio.Timeout] = set()
        self._is_stopped = False

    async def until_rest(
        self, journal: Journal, run_id: str, seconds: float, deadline: asyncio.Timeout | None = None
    ) -> Snapshot:
        """Return the run as soon as it has ended or waits for a person, or else after so many seconds.

        Args:
            journal: Where the run is.
            run_id: The run.
            seconds: How long to wait.
            deadline: When the request is given up; moved by as much as is waited.

        Raises:
            RunNotFound: There is no such run.
        """
        snapshot = await journal.snapshot(run_id, artifacts=False)
        if seconds <= 0 or self._is_stopped or _rests(snapshot):
            return snapshot
        last = snapshot.events[-1].id if snapshot.events else ""
        if deadline is not None and (when := deadline.when()) is not None:
            deadline.reschedule(when + seconds)
        timeout = asyncio.timeout(seconds)
        self._timeouts.add(timeout)
        try:
            with contextlib.suppress(TimeoutError, RunNotFound):
                async with timeout:
                    await _news_of_rest(journal, run_id, last)
        finally:
            self._timeouts.discard(timeout)
        return await journal.snapshot(run_id, artifacts=False)

    def stop(self) -> None:
        """Wait no more."""
        self._is_stopped = True
        for timeout in self._timeouts:
            timeout.reschedule(asyncio.get_running_loop().time())


def _rests(snapshot: Snapshot) -> bool:
    """Return whether a run has ended, or waits for somebody who has not answered yet."""
    record = snapshot.record
    if record.status in FINAL:
        return True
    return record.status == "waiting" and record.reason in PEOPLE and _asks(snapshot)


def _asks(snapshot: Snapshot) -> bool:
    """Return whether a call of the last question has no answer; once all have one, a worker is about to go on."""
    asked: set[str] = set()
    for stored in snapshot.events:
        event = stored.event
        if isinstance(event, RunWaiting):
            asked = set(event.call_ids)
        elif isinstance(event, CallReviewed | CallFinished):
            asked.discard(event.call_id)
    return bool(asked)


async def _news_of_rest(journal: Journal, run_id: str, last: str) -> None:
    """Follow a run from behind `last` until it ends or waits for a person."""
    async with contextlib.aclosing(journal.follow(run_id, after=last)) as events:  # type: ignore[type-var]
        async for stored in events:
            if isinstance(stored.event, RunWaiting) and stored.event.reason in PEOPLE:
                return
