"""A pool for Celery that runs coroutines: one event loop in one thread, hundreds of Celery tasks at a time.

Celery's hook for custom pools calls `on_apply` for every message, in the thread of its own loop (the hub). A Celery
task that is an `async def` becomes a task of our event loop; a plain function runs in a thread, under Celery's own
tracer. Coroutines are run without that tracer: no retries, no results, no task signals, none of which we use.

Messages are acknowledged before they are run, `terminate_job` cancels cooperatively, and Celery stops taking messages
while `num_processes` of them are at work (`worker_disable_prefetch`).
"""

import asyncio
import inspect
import itertools
import threading
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

import structlog
from celery.concurrency.base import BasePool

from ..tools.threads import pool as threads

T = TypeVar("T")

_log = structlog.get_logger(__name__)

STOP_S = 2.0
"""How long cancelled Celery tasks may take to end when the pool stops, in seconds."""


class LoopThread:
    """An event loop (uvloop where it is installed) in a daemon thread of its own."""

    def __init__(self, name: str = "loopwright-loop") -> None:
        self.loop = _new_loop()
        self._is_over = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> "LoopThread":
        """Start the thread; return at once."""
        self._thread.start()
        return self

    def submit(self, work: Coroutine[Any, Any, T]) -> "Future[T]":
        """Run a coroutine there; the future may be waited for in any other thread."""
        return asyncio.run_coroutine_threadsafe(work, self.loop)

    def stop(self) -> None:
        """End the loop and wait for its thread, for a moment."""
        self._is_over = True
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(STOP_S)

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        while not self._is_over:
            try:
                self.loop.run_forever()
            except (SystemExit, KeyboardInterrupt):  # raised by code that we run; signals reach the main thread only
                _log.error("loop_interrupted", exc_info=True)
        self.loop.close()


@dataclass(slots=True)
class _Job:
    """A Celery task on its way: Celery's callback, and the task of our loop once there is one."""

    name: str
    work: Callable[[], Coroutine[Any, Any, Any]]
    done: Callable[[Any], None]
    timeout_s: float | None
    started: float = field(default_factory=time.monotonic)
    task: "asyncio.Task[None] | None" = None


class AioPool(BasePool):  # type: ignore[misc]
    """See above. `limit` is how many messages may be at work.

    Use it as `CELERY_CUSTOM_WORKER_POOL=loopwright.workers.pool:AioPool`, or `AioPool.on(thread)` on a loop of yours.
    """

    thread: LoopThread | None = None
    signal_safe = False
    task_join_will_block = False

    @classmethod
    def on(cls, thread: LoopThread) -> "type[AioPool]":
        """Return a pool class that runs on a loop which somebody else has started and will stop."""
        return type(cls.__name__, (cls,), {"thread": thread})

    def on_start(self) -> None:
        """Start the loop, unless there is one."""
        self._is_owner = self.thread is None
        self._thread: LoopThread = self.thread or LoopThread().start()
        self._jobs: dict[int, _Job] = {}
        self._numbers = itertools.count(1)
        self._hub: Any = None

    def register_with_event_loop(self, hub: Any) -> None:
        """Remember Celery's loop: it is told of ends in its own thread. Called anew after every reconnection."""
        self._hub = hub

    def on_apply(
        self,
        target: Any,
        args: Any,
        kwargs: Any = None,
        callback: Any = None,
        accept_callback: Any = None,
        timeout: float | None = None,
        **_: Any,
    ) -> None:
        """Start a Celery task. `args` are what Celery's tracer takes: name, id, request, body and its encodings."""
        number = next(self._numbers)
        accept_callback(number, time.monotonic())
        task = self.app.tasks[args[0]]
        if inspect.iscoroutinefunction(task.run):
            request = args[2]
            work = partial(task.run, *request["args"], **request["kwargs"])
        else:
            work = partial(_in_thread, target, args, {**(kwargs or {}), "app": self.app})
        self._jobs[number] = job = _Job(task.name, work, callback, timeout)
        self._thread.loop.call_soon_threadsafe(self._begin, number, job)

    def terminate_job(self, pid: int, signal: Any = None) -> None:
        """Cancel a Celery task by its number; a plain function goes on in its thread, and nobody waits for it."""
        self._thread.loop.call_soon_threadsafe(self._cancel, pid)

    def on_stop(self) -> None:
        """Cancel what still runs, wait for it a moment, end the loop if it is ours."""
        self._thread.loop.call_soon_threadsafe(self._cancel_all)
        deadline = time.monotonic() + STOP_S
        while self._jobs and time.monotonic() < deadline:
            time.sleep(0.01)
        if self._is_owner:
            self._thread.stop()

    on_terminate = on_stop

    def _begin(self, number: int, job: _Job) -> None:
        job.task = asyncio.get_running_loop().create_task(self._run(number, job))

    async def _run(self, number: int, job: _Job) -> None:
        try:
            async with asyncio.timeout(job.timeout_s):
                await job.work()
        except asyncio.CancelledError:
            pass  # by terminate_job or by the end of the pool: the Celery task is over, its worker goes on
        except BaseException as exc:  # the outermost border: whatever a task raises, its worker goes on
            _log.error("celery_task_failed", task=job.name, kind=type(exc).__name__, exc_info=exc)
        finally:
            del self._jobs[number]
            outcome = (0, None, time.monotonic() - job.started)  # Celery would end the worker for some errors
            if self._hub is None:
                job.done(outcome)
            else:
                self._hub.call_soon(job.done, outcome)

    def _cancel(self, number: int) -> None:
        job = self._jobs.get(number)
        if job is not None and job.task is not None:
            job.task.cancel()

    def _cancel_all(self) -> None:
        for number in list(self._jobs):
            self._cancel(number)


async def _in_thread(target: Any, args: Any, kwargs: Any) -> None:
    """Run a plain Celery task as any other pool would; its tracer logs what goes wrong."""
    await threads().submit(partial(target, *args, **kwargs)).result()


def _new_loop() -> asyncio.AbstractEventLoop:
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()
