"""Daemon threads for blocking tools.

A blocking call cannot be stopped. When its time is up it is abandoned: nobody waits for it any more, its thread no
longer counts, and it hinders neither the event loop nor the end of the process. `asyncio.to_thread` gives none of
these three: its pool fills with hung calls, and the interpreter waits for them at exit.
"""

import asyncio
import contextvars
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from typing import Any


class Job:
    """One blocking call on its way through the pool."""

    __slots__ = ("_call", "_context", "_future", "_loop", "is_abandoned", "is_finished", "is_hung", "is_started")

    def __init__(self, call: Callable[[], Any]) -> None:
        self._call = call
        self._context = contextvars.copy_context()
        self._loop = asyncio.get_running_loop()
        self._future: asyncio.Future[tuple[Any, BaseException | None]] = self._loop.create_future()
        self.is_started = False
        self.is_finished = False
        self.is_abandoned = False
        self.is_hung = False

    async def result(self) -> Any:
        """Wait for the call; return its value or raise what it raised."""
        value, error = await self._future
        if error is not None:
            raise error
        return value

    def run(self) -> None:
        """Make the call in the current thread and hand its result to the event loop."""
        outcome: tuple[Any, BaseException | None]
        try:
            outcome = (self._context.run(self._call), None)
        except BaseException as exc:  # also SystemExit: a tool must not end the thread
            outcome = (None, exc)
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(self._settle, outcome)

    def _settle(self, outcome: tuple[Any, BaseException | None]) -> None:
        if not self._future.done():
            self._future.set_result(outcome)


class ThreadPool:
    """Threads that take jobs in order; one more is started when all others are busy.

    Args:
        most: Most threads that work; as many again may hang in abandoned calls.
    """

    def __init__(self, most: int = 64) -> None:
        self._most = most
        self._jobs: SimpleQueue[Job] = SimpleQueue()
        self._lock = threading.Lock()  # guards the four counters and the flags of jobs
        self._counted = 0  # threads at work or waiting for it
        self._free = 0  # of these, threads that no job is meant for
        self._backlog = 0  # jobs that no thread is meant for
        self._hung = 0  # threads in abandoned calls, not counted

    @property
    def hung(self) -> int:
        """How many threads are still in calls that nobody waits for any more."""
        return self._hung

    def submit(self, call: Callable[[], Any]) -> Job:
        """Queue a call; it starts at once unless all threads are busy."""
        job = Job(call)
        with self._lock:
            self._jobs.put(job)
            if self._free:
                self._free -= 1
            else:
                self._backlog += 1
                self._grow()
        return job

    def abandon(self, job: Job) -> bool:
        """Stop waiting for a job; return whether its call was started. One that was not, never will be."""
        with self._lock:
            job.is_abandoned = True
            if job.is_started and not job.is_finished and self._hung < self._most:
                job.is_hung = True
                self._hung += 1
                self._counted -= 1
                self._grow()
            return job.is_started

    def _grow(self) -> None:
        """Start a thread for a job of the backlog, if there may be one more. The lock is held."""
        if self._backlog and self._counted < self._most:
            self._backlog -= 1
            self._counted += 1
            threading.Thread(target=self._work, name="loopwright-tool", daemon=True).start()

    def _work(self) -> None:
        goes_on = True
        while goes_on:
            job = self._jobs.get()
            with self._lock:
                job.is_started = not job.is_abandoned
            if job.is_started:
                job.run()
            goes_on = self._finish(job)
            del job  # an idle thread keeps no arguments alive

    def _finish(self, job: Job) -> bool:
        """Book the end of a job; return whether its thread is still needed."""
        with self._lock:
            job.is_finished = True
            if job.is_hung:
                self._hung -= 1
                if self._counted >= self._most:
                    return False
                self._counted += 1
            if self._backlog:
                self._backlog -= 1
            else:
                self._free += 1
            return True


def pool() -> ThreadPool:
    """Return the process's pool."""
    return _pools[0]


def _renew() -> None:
    _pools[:] = [ThreadPool()]


_pools: list[ThreadPool] = [ThreadPool()]
os.register_at_fork(after_in_child=_renew)  # threads do not survive a fork, counters would
