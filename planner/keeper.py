"""Keep leases alive while their runs are driven, and notice when one is lost or its run is to be cancelled."""

import asyncio
from types import TracebackType
from weakref import WeakKeyDictionary

from ..errors import Fenced, JournalUnavailable, LoopwrightError
from ..memory.journal.contract import Journal, Lease

CHECK_S = 1.0
"""Longest time, in seconds, for which a requested cancellation of a busy run goes unnoticed."""


class LeaseKeeper:
    """Renews a lease at a third of its time, and at least every `CHECK_S`.

    Used as `with LeaseKeeper(...)` around the driving code, whose task it cancels when the lease is lost or a
    cancellation is requested. The keepers of one event loop share one timer, so a short run pays nothing for it.

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
        self._due = 0.0
        self._failing_since: float | None = None
        self._renewal: asyncio.Task[None] | None = None
        self._driver: asyncio.Task[object] | None = None
        self._rounds: _Rounds | None = None

    def __enter__(self) -> "LeaseKeeper":
        loop = asyncio.get_running_loop()
        self._driver = asyncio.current_task(loop)
        self._rounds = _ROUNDS.get(loop) or _ROUNDS.setdefault(loop, _Rounds(loop))
        self._due = loop.time() + self.every_s
        self._rounds.add(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._rounds:
            self._rounds.keepers.discard(self)
        if self._renewal:
            self._renewal.cancel()

    @property
    def every_s(self) -> float:
        """Seconds between two renewals."""
        return min(self._ttl_s / 3, CHECK_S)

    @property
    def interrupted(self) -> bool:
        """Whether the keeper itself cancelled the driving task."""
        return self.lost is not None or self.cancel_reason is not None

    def forgive(self) -> None:
        """Take the keeper's own cancellation of the driving task back, so that it can go on."""
        if self._driver:
            self._driver.uncancel()

    def visit(self, now: float) -> None:
        """Start a renewal when one is due and none is under way."""
        if now >= self._due and not self.interrupted and (self._renewal is None or self._renewal.done()):
            self._due = now + self.every_s
            self._renewal = asyncio.get_running_loop().create_task(self._renew())

    async def _renew(self) -> None:
        clock = asyncio.get_running_loop().time
        try:
            self.cancel_reason = await self._journal.renew(self._lease, ttl_s=self._ttl_s)
            self._failing_since = None
        except Fenced as exc:
            self.lost = exc
        except JournalUnavailable as exc:
            self._failing_since = self._failing_since or clock()
            if clock() - self._failing_since >= self._ttl_s / 3:
                self.lost = exc
        if self.interrupted and self._driver:
            self._driver.cancel()


class _Rounds:
    """Visits the keepers of one event loop, from one timer that stands only while there are any."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.keepers: set[LeaseKeeper] = set()
        self._loop = loop
        self._timer: asyncio.TimerHandle | None = None
        self._next = 0.0

    def add(self, keeper: LeaseKeeper) -> None:
        """Visit a keeper from now on."""
        self.keepers.add(keeper)
        wanted = self._loop.time() + keeper.every_s
        if self._timer is None or wanted < self._next:
            if self._timer:
                self._timer.cancel()
            self._set(wanted)

    def _set(self, at: float) -> None:
        self._next = at
        self._timer = self._loop.call_at(at, self._visit)

    def _visit(self) -> None:
        self._timer = None
        now = self._loop.time()
        for keeper in list(self.keepers):
            keeper.visit(now)
        if self.keepers:
            self._set(now + min(keeper.every_s for keeper in self.keepers))


_ROUNDS: "WeakKeyDictionary[asyncio.AbstractEventLoop, _Rounds]" = WeakKeyDictionary()
