"""Time limits for awaits, many at once and cheap.

`asyncio.timeout` sets and cancels a timer per use, and cancelled timers stay in the loop's heap until their time. Here
the limits of one event loop share one timer, which is set anew only when it fires or when a limit is nearer.
"""

import asyncio
import math
import threading
from collections.abc import Awaitable, Callable
from typing import Any


class Expired(Exception):
    """The time was up first."""


async def within(timeout_s: float, call: Callable[[], Awaitable[Any]]) -> Any:
    """Await what `call` returns for at most `timeout_s` seconds, in the current task.

    Raises:
        Expired: The time was up; the awaited code has been cancelled.
    """
    clock = _clock()
    task = asyncio.current_task(clock.loop)
    assert task is not None
    alarm = _Alarm(task, clock.loop.time() + timeout_s)
    before = task.cancelling()
    clock.add(alarm)
    try:
        value = await call()
    except BaseException as exc:
        if alarm.has_rung and task.uncancel() <= before:
            raise Expired from exc
        raise
    finally:
        clock.alarms.discard(alarm)
    if alarm.has_rung:
        task.uncancel()  # the code caught the cancellation and finished all the same
    return value


class _Alarm:
    """Cancels a task when its time is up."""

    __slots__ = ("due", "has_rung", "task")

    def __init__(self, task: "asyncio.Task[Any]", due: float) -> None:
        self.task = task
        self.due = due
        self.has_rung = False

    def ring(self) -> None:
        self.has_rung = True
        self.task.cancel()


class _Clock:
    """The alarms of one event loop."""

    __slots__ = ("_handle", "_next", "alarms", "loop")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.alarms: set[_Alarm] = set()
        self._next = math.inf
        self._handle: asyncio.TimerHandle | None = None

    def add(self, alarm: _Alarm) -> None:
        self.alarms.add(alarm)
        if alarm.due < self._next:
            if self._handle is not None:
                self._handle.cancel()
            self._next = alarm.due
            self._handle = self.loop.call_at(alarm.due, self._tick)

    def _tick(self) -> None:
        now = self._next
        due = [alarm for alarm in self.alarms if alarm.due <= now]
        self.alarms.difference_update(due)
        for alarm in due:
            alarm.ring()
        self._next, self._handle = math.inf, None
        if self.alarms:
            self._next = min(alarm.due for alarm in self.alarms)
            self._handle = self.loop.call_at(self._next, self._tick)


class _Clocks(threading.local):
    """A thread runs one event loop at a time, so the last one used is nearly always the right one."""

    last: _Clock | None = None


_clocks = _Clocks()


def _clock() -> _Clock:
    loop = asyncio.get_running_loop()
    clock = _clocks.last
    if clock is None or clock.loop is not loop:
        clock = _clocks.last = _Clock(loop)
    return clock
