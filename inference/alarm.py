"""Time out a wait that is entered once per token, at a fraction of the cost of `asyncio.timeout`.

`asyncio.timeout` sets and cancels a timer for every wait; here one timer serves a whole completion: when it fires
early, because tokens kept coming, it is set anew for what is left.
"""

import asyncio


class Alarm:
    """Cancels the task that waits between `start` and `stop` when its time is over.

    Cancellation is told apart from one that comes from outside like in `asyncio.timeout`: by the task's own count.
    """

    __slots__ = ("_by", "_cancelling", "_has_rung", "_loop", "_task", "_timer")

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._task: asyncio.Task[object] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._by = 0.0
        self._cancelling = 0
        self._has_rung = False

    def start(self, by: float) -> None:
        """Give the running task until `by`, an instant of the event loop's clock."""
        task = asyncio.current_task(self._loop)
        assert task is not None
        self._task = task
        self._cancelling = task.cancelling()
        self._by = by
        if self._timer is None or self._timer.when() > by:
            self._set(by)

    def stop(self) -> None:
        """End the wait. The timer stays set for the next one."""
        self._task = None

    def has_rung(self) -> bool:
        """Return whether the `CancelledError` in hand is the alarm's own, and take it back from the task if so."""
        if not self._has_rung:
            return False
        self._has_rung = False
        task = asyncio.current_task(self._loop)
        return task is not None and task.uncancel() <= self._cancelling

    def close(self) -> None:
        """Forget the timer."""
        self._task = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _set(self, by: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(by, self._ring)

    def _ring(self) -> None:
        self._timer = None
        if self._task is None:
            return
        if self._loop.time() < self._by:
            self._set(self._by)
        else:
            self._has_rung = True
            self._task.cancel()
