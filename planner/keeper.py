"""Keep a lease alive while its run is driven, and notice when it is lost or the run is to be cancelled."""

import asyncio
from types import TracebackType

from ..errors import Fenced, JournalUnavailable, LoopwrightError
from ..memory.journal.contract import Journal, Lease

CHECK_S = 1.0
"""Longest time, in seconds, for which a requested cancellation of a busy run goes unnoticed."""


class LeaseKeeper:
    """Renews a lease at a third of its time, and at least every `CHECK_S`, from a task that starts only then.

    Used as `with LeaseKeeper(...)` around the driving code, whose task it cancels when the lease is lost or a
    cancellation is requested.

    Attributes:
        cancel_reason: Why the run is to be cancelled, once somebody has asked for it.
        lost: The error that ended the lease, if it was lost.
    """

    def __init__(self, journal: Journal, lease: Lease, ttl_s: float) -> None:
        self.cancel_reason: str | None = None
        self.lost: LoopwrightError | None = None
        self._journal = journal
        self._lease = lease
        self._ttl_s = ttl_s
        self._every_s = min(ttl_s / 3, CHECK_S)
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None
        self._driver: asyncio.Task[object] | None = None

    def __enter__(self) -> "LeaseKeeper":
        self._driver = asyncio.current_task()
        self._timer = asyncio.get_running_loop().call_later(self._every_s, self._start)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._timer:
            self._timer.cancel()
        if self._task:
            self._task.cancel()

    @property
    def interrupted(self) -> bool:
        """Whether the keeper itself cancelled the driving task."""
        return self.lost is not None or self.cancel_reason is not None

    def forgive(self) -> None:
        """Take the keeper's own cancellation of the driving task back, so that it can go on."""
        if self._driver:
            self._driver.uncancel()

    def _start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._keep())

    async def _keep(self) -> None:
        failing_since: float | None = None
        clock = asyncio.get_running_loop().time
        while True:
            try:
                self.cancel_reason = await self._journal.renew(self._lease, ttl_s=self._ttl_s)
                failing_since = None
            except Fenced as exc:
                self.lost = exc
            except JournalUnavailable as exc:
                failing_since = failing_since or clock()
                if clock() - failing_since >= self._ttl_s / 3:
                    self.lost = exc
            if self.interrupted and self._driver:
                self._driver.cancel()
                return
            await asyncio.sleep(self._every_s)
