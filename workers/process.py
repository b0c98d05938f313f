"""A worker process: Celery in the main thread, everything of ours on one event loop in a thread beside it.

    main thread   Messenger (Celery's loop) ── wake-ups ──►┐
    loop thread   Runner, Sweeper, Echo, presence, metrics, schedules, webhooks, archive ◄┘

SIGTERM or Ctrl-C: take nothing more, hand each run over at its next step boundary, and leave within the grace period.
The second one, or SIGQUIT: hand over at once. SIGKILL: the leases run out and others go on.
"""

import asyncio
import os
import signal
import sys
import threading
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import AsyncExitStack, suppress
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn

import structlog

from ..agents.loader import load
from ..agents.registry import Registry
from ..errors import LoopwrightError, SettingsInvalid
from ..memory.presence import BEAT_S
from ..planner.loop import wall_ms
from .celery_app import Messenger, PoolName, make_app, worker_name
from .doorbell import QUEUES, Doorbell, echo_queue, tool_queue
from .echo import Echo
from .pool import AioPool, LoopThread
from .quarantine import Quarantine
from .runner import Runner
from .sweeper import Sweeper
from .turns import Turns
from .vitals import vitals

if TYPE_CHECKING:
    from ..memory.store import Store
    from ..settings import Settings

HARD_END_S = 1.8
"""How long a worker may take to leave once its grace period is over, in seconds; then it is ended."""

SWITCH_S = 0.001
"""How long one thread may keep the interpreter from the other, in seconds: a wake-up crosses both (default: 0.005)."""

CELERY_S = 1.3
"""How long Celery may take to leave once everything else is closed, in seconds."""

AGAIN_S = 1.0
"""How long a background job that failed in an unforeseen way rests before it is started again, in seconds."""

_log = structlog.get_logger(__name__)


def run_worker(
    settings: "Settings", sources: Sequence[str], *, queue: str | None = None, pool: PoolName = "asyncio"
) -> int:
    """Be a worker until a signal says otherwise; return the exit code.

    Prints `worker NAME ready: ...` to standard error as soon as messages are taken.

    Args:
        settings: See `Settings`.
        sources: Files, folders or modules with agents.
        queue: Execute only calls of tools that were declared with this `queue`; `None`: drive runs.
        pool: How Celery tasks are run. Runs need `asyncio`; tools also take `prefork`, `threads` and `solo`.

    Raises:
        LoadFailed, DefinitionInvalid: The agents cannot be had.
        SettingsInvalid, JournalUnavailable, RedisMissing: Redis cannot be used as asked.
    """
    if queue is None and pool != "asyncio":
        raise SettingsInvalid("--pool", f"{pool} is for workers of a tool queue: name it with --queue NAME")
    registry = Registry(agent for source in sources for agent in load(source))
    if pool != "asyncio":
        from .tool_process import run_tool_worker

        return run_tool_worker(settings, registry, str(queue), pool)
    process = WorkerProcess(settings, registry, sources, queue)
    code = process.run()
    if process.is_deaf:
        start_anew()
    return code


def start_anew() -> NoReturn:
    """Replace this process by the same command, begun again."""
    signal.setitimer(signal.ITIMER_REAL, 0)
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606


class WorkerProcess:
    """One worker with the asyncio pool: for runs, or for the tools of one queue."""

    def __init__(
        self, settings: "Settings", registry: Registry, sources: Sequence[str], queue: str | None = None
    ) -> None:
        self.name = worker_name()
        self.is_deaf = False
        self._settings = settings
        self._registry = registry
        self._sources = sources
        self._queue = queue
        self._started_ms = wall_ms()
        self._thread = LoopThread().start()
        self._opened: Future[str] = Future()
        self._draining = asyncio.Event()
        self._closing = asyncio.Event()
        self._is_draining = False
        self._is_out = False
        self._wake: Callable[[Any], Coroutine[Any, Any, None]]
        self._messenger: Messenger | None = None
        self._runner: Runner | None = None
        self._echo: Echo | None = None
        self._jobs: list[asyncio.Task[None]] = []

    def run(self) -> int:
        """Start, take messages, drain, end. The main thread's signal handlers are ours meanwhile."""
        sys.setswitchinterval(SWITCH_S)
        life = self._thread.submit(self._live())
        first: list[Future[Any]] = [life, self._opened]
        wait(first, return_when=FIRST_COMPLETED)
        if not self._opened.done():
            life.result()  # raises what went wrong
        hands: Any = {"wake": self._wake} if self._queue is None else {"tool": self._wake}
        app = make_app(self._opened.result(), [*self._queues(), echo_queue(self.name)], **hands)
        self._messenger = Messenger(
            app, name=self.name, pool=AioPool.on(self._thread), slots=self._settings.slots, on_ready=self._ready,
            on_echo=lambda token: self._echo.heard(token) if self._echo else None,
        )  # fmt: skip
        with _Signals(self._thread.loop, self._settings.grace_s, self._signalled):
            code = self._messenger.run()
            self._is_out = True
            self._thread.loop.call_soon_threadsafe(self._closing.set)  # also when Celery has given up by itself
            with suppress(TimeoutError):
                life.result(HARD_END_S + self._settings.grace_s)
        self._thread.stop()
        return code

    def _queues(self) -> Sequence[str]:
        return QUEUES if self._queue is None else [tool_queue(self._queue)]

    def _ready(self) -> None:
        agents = ", ".join(self._registry.names) or "no agents"
        what = f"runs of {agents}" if self._queue is None else f"tools of queue {self._queue!r} of {agents}"
        print(f"worker {self.name} ready: {self._settings.slots} slots, {what}", file=sys.stderr, flush=True)

    def _signalled(self, is_urgent: bool) -> None:
        """React to a signal, on the loop: the second one is urgent in any case."""
        grace_s = 0.0 if is_urgent or self._is_draining else self._settings.grace_s
        self._is_draining = True
        self._jobs.append(self._thread.loop.create_task(self._drain(grace_s)))

    def _turned_deaf(self) -> None:
        self.is_deaf = True
        self._signalled(False)

    async def _drain(self, grace_s: float) -> None:
        """Stop taking messages, hand everything over, and let the process end."""
        self._draining.set()
        if self._messenger is not None:
            self._messenger.take_no_more()
        if self._runner is not None:
            await self._runner.drain(grace_s)
        elif self._messenger is not None:
            await _until(lambda: self._messenger is None or not self._messenger.busy, grace_s)
        self._closing.set()

    async def _live(self) -> None:
        """Hold everything open that belongs to the loop, from start to end."""
        from ..memory.store import open_store

        async with AsyncExitStack() as stack:
            store = await stack.enter_async_context(open_store(self._settings))
            doorbell = Doorbell(store.client)
            stack.push_async_callback(doorbell.aclose)
            jobs = await self._open(stack, store, doorbell)
            self._opened.set_result(store.url)
            running = [asyncio.create_task(_kept_going(name, job), name=name) for name, job in jobs.items()]
            await self._closing.wait()
            for task in running:
                task.cancel()
            await asyncio.wait(running, timeout=1.0)
            if self._messenger is not None:
                self._messenger.stop()
            with suppress(LoopwrightError):
                await store.presence.leave(self.name)
        await _until(lambda: self._is_out, CELERY_S)
        if not self._is_out:  # it hangs in a connection that died; there is nothing left that could be lost
            _log.warning("celery_left_behind", worker=self.name)
            start_anew() if self.is_deaf else os._exit(0)

    async def _open(
        self, stack: AsyncExitStack, store: "Store", doorbell: Doorbell
    ) -> dict[str, Callable[[], Awaitable[None]]]:
        """Make the parts; return the background jobs by name."""
        from ..memory.journal.remote import RemoteCalls

        settings = self._settings
        self._echo = echo = Echo(self.name, is_full=self._is_full)
        calls = RemoteCalls(store.client, durability=settings.durability)
        jobs: dict[str, Callable[[], Awaitable[None]]] = {
            "echo": lambda: echo.run(store.client, doorbell, self._turned_deaf),
            "presence": partial(self._beat, store),
            "metrics": store.metrics.run,
        }
        if self._queue is not None:
            from .tool_queue import ToolBench

            bench = ToolBench(calls, self._registry, doorbell, lease_s=settings.lease_s)
            stack.push_async_callback(bench.aclose)
            self._wake = bench.run
            return jobs
        return jobs | self._open_runner(stack, store, doorbell, calls)

    def _open_runner(
        self, stack: AsyncExitStack, store: "Store", doorbell: Doorbell, calls: Any
    ) -> dict[str, Callable[[], Awaitable[None]]]:
        from .archiver import run_archiver
        from .scheduler import run_scheduler
        from .tool_queue import QueuedTools
        from .webhooks import run_webhooks

        settings = self._settings
        isolation = Quarantine(settings.model_copy(update={"redis_url": store.url}), self._sources, self.name)
        stack.push_async_callback(isolation.aclose)
        self._runner = runner = Runner(
            store, self._registry, settings, doorbell, name=self.name, remote=QueuedTools(calls, doorbell),
            isolation=isolation,
        )  # fmt: skip
        stack.push_async_callback(runner.aclose)
        self._wake = runner.wake
        store.journal.on_turn(doorbell.ring_soon)
        sweeper = Sweeper(store.journal, store.client, doorbell, free=self._free)
        return {
            "sweeper": sweeper.run,
            "turns": Turns(store.client, runner, slots=settings.slots, is_full=self._is_full).run,
            "schedules": lambda: run_scheduler(store, self._registry, doorbell, settings, self._draining),
            "archiver": lambda: run_archiver(store, settings),
            "webhooks": lambda: run_webhooks(store, settings, self._draining),
        }

    def _free(self) -> int:
        busy = self._messenger.busy if self._messenger is not None else 0
        return 0 if self._is_draining else self._settings.slots - busy

    def _is_full(self) -> bool:
        return self._free() <= 0

    async def _beat(self, store: "Store") -> None:
        queues = ["runs"] if self._queue is None else [self._queue]
        while True:
            busy = self._messenger.busy if self._messenger is not None else 0
            facts = vitals(
                self._registry, queues=queues, slots=self._settings.slots, busy=busy, started_ms=self._started_ms,
                is_draining=self._is_draining,
            )  # fmt: skip
            with suppress(LoopwrightError):  # nobody is shown a worker while Redis is away
                await store.presence.beat(self.name, facts)
            await asyncio.sleep(BEAT_S)


class _Signals:
    """Turns signals into calls on the loop, and ends the process when it does not end by itself.

    A handler only writes a byte: whatever the main thread was doing when the signal came, no lock is taken.

    Args:
        loop: Where `react` is called, with whether the signal is urgent.
        grace_s: The grace period.
        react: Takes signals.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, grace_s: float, react: Callable[[bool], None]) -> None:
        self._loop = loop
        self._grace_s = grace_s
        self._react = react
        self._before: dict[int, Any] = {}

    def __enter__(self) -> None:
        self._read, self._write = os.pipe()
        os.set_blocking(self._write, False)
        self._loop.call_soon_threadsafe(self._loop.add_reader, self._read, self._arrived)
        if threading.current_thread() is threading.main_thread():
            for each in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
                self._before[each] = signal.signal(each, self._handle)

    def __exit__(self, *_: object) -> None:
        for each, before in self._before.items():
            signal.signal(each, before)
        if self._before:
            signal.setitimer(signal.ITIMER_REAL, 0)
        self._loop.call_soon_threadsafe(self._loop.remove_reader, self._read)

    def _handle(self, number: int, _frame: Any) -> None:
        urgent = number == signal.SIGQUIT
        if signal.getitimer(signal.ITIMER_REAL)[0] == 0.0:
            signal.setitimer(signal.ITIMER_REAL, HARD_END_S + (0.0 if urgent else self._grace_s))  # SIGALRM ends us
        with suppress(BlockingIOError):
            os.write(self._write, b"!" if urgent else b".")

    def _arrived(self) -> None:
        for each in os.read(self._read, 64):
            self._react(each == ord("!"))


async def _kept_going(name: str, job: Callable[[], Awaitable[None]]) -> None:
    """Run a background job; one that fails in an unforeseen way starts again and never ends the worker."""
    while True:
        try:
            await job()
            return
        except Exception as exc:  # the outermost border of the job
            _log.error("job_failed", job=name, kind=type(exc).__name__, exc_info=exc)
            await asyncio.sleep(AGAIN_S)


async def _until(is_so: Callable[[], bool], timeout_s: float) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(timeout_s):
            while not is_so():
                await asyncio.sleep(0.02)
