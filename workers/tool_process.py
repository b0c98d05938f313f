"""A worker process for queued tools on one of Celery's own pools: prefork for heavy or blocking tools, threads, solo.

The main thread runs Celery's loop and everything else that the process does: children are forked from it, also later
on, so there is no second thread that could hold a lock meanwhile. What needs Redis opens a client for a moment.
"""

import asyncio
import os
import signal
import sys
import time
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Any

from ..errors import LoopwrightError
from ..memory.presence import BEAT_S, Presence
from ..planner.loop import wall_ms
from .celery_app import Messenger, PoolName, make_app, worker_name
from .doorbell import Doorbell, echo_queue, tool_queue
from .echo import Echo
from .process import HARD_END_S, start_anew
from .tool_queue import ToolRunner
from .vitals import vitals

if TYPE_CHECKING:
    from ..agents.registry import Registry
    from ..settings import Settings

LOOK_S = 0.25
"""How often signals are looked at, in seconds."""

MOST_THREADS = 64


def run_tool_worker(settings: "Settings", registry: "Registry", queue: str, pool: PoolName) -> int:
    """Execute calls of the tools of one queue until a signal says otherwise; return the exit code.

    Raises:
        SettingsInvalid, JournalUnavailable, RedisMissing: Redis cannot be used as asked.
    """
    with ExitStack() as stack:
        url = settings.redis_url
        if url is None:
            from ..memory.server import EmbeddedRedis

            url = stack.enter_context(EmbeddedRedis(settings.data_dir)).url
        process = ToolProcess(settings.model_copy(update={"redis_url": url}), registry, queue, pool)
        code = process.run()
    if process.is_deaf:
        start_anew()
    return code


class ToolProcess:
    """One such worker; `settings.redis_url` is set."""

    def __init__(self, settings: "Settings", registry: "Registry", queue: str, pool: PoolName) -> None:
        self.name = worker_name()
        self.is_deaf = False
        self._settings = settings
        self._url = str(settings.redis_url)
        self._registry = registry
        self._queue = queue
        self._pool = pool
        self._slots = slots_of(settings, pool)
        self._echo = Echo(self.name, is_full=self._is_full)
        self._started_ms = wall_ms()
        self._looked = time.monotonic()
        self._signals = 0
        self._leave_at: float | None = None
        self._messenger: Any = None

    def run(self) -> int:
        """Start, take messages, drain, end."""
        asyncio.run(self._check())
        runner = ToolRunner(
            self._url, self._registry, lease_s=self._settings.lease_s, durability=self._settings.durability,
            is_disposable=self._pool == "prefork",
        )  # fmt: skip
        app = make_app(self._url, [tool_queue(self._queue), echo_queue(self.name)], tool=runner.run)
        self._messenger = Messenger(
            app, name=self.name, pool=self._pool, slots=self._slots, on_ready=self._ready, on_echo=self._echo.heard
        )
        before = {each: signal.signal(each, self._handle) for each in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)}
        try:
            code: int = self._messenger.run()
        finally:
            for each, handler in before.items():
                signal.signal(each, handler)
            signal.setitimer(signal.ITIMER_REAL, 0)
        self._leave()
        return code

    def _leave(self) -> None:
        with suppress(LoopwrightError):
            asyncio.run(self._with_client(lambda client: Presence(client).leave(self.name)))

    def _end_now(self) -> None:
        """End the process with its children; calls that they make follow their effect, as after any crash."""
        self._messenger.kill_children()
        self._leave()
        signal.setitimer(signal.ITIMER_REAL, 0)
        if self.is_deaf:
            start_anew()
        os._exit(0)

    async def _check(self) -> None:
        """Refuse a Redis that cannot give what is asked for, before anything is forked."""
        from ..memory.connect import open_redis

        async with open_redis(self._settings):
            pass

    def _ready(self) -> None:
        agents = ", ".join(self._registry.names) or "no agents"
        print(
            f"worker {self.name} ready: {self._slots} slots ({self._pool}), tools of queue {self._queue!r} of {agents}",
            file=sys.stderr,
            flush=True,
        )
        self._beat()
        self._messenger.call_repeatedly(LOOK_S, self._look)
        self._messenger.call_repeatedly(BEAT_S, self._beat)

    def _handle(self, number: int, _frame: Any) -> None:
        """Count a signal; what it means is decided by `_look`, which interrupts nothing."""
        self._signals += 2 if number == signal.SIGQUIT else 1
        if signal.getitimer(signal.ITIMER_REAL)[0] == 0.0:
            signal.setitimer(signal.ITIMER_REAL, self._settings.grace_s + HARD_END_S)  # SIGALRM ends us

    def _look(self) -> None:
        if not self._signals and not self.is_deaf:
            return
        now = time.monotonic()
        if self._leave_at is None:
            self._leave_at = now + self._settings.grace_s
            self._messenger.take_no_more()
        if self._signals > 1 or now >= self._leave_at:
            self._end_now()
        elif not self._messenger.busy:
            self._messenger.stop()

    def _is_full(self) -> bool:
        return self._leave_at is not None or self._messenger.busy >= self._slots

    def _beat(self) -> None:
        now = time.monotonic()
        passed, self._looked = now - self._looked, now
        with suppress(LoopwrightError):  # nobody is shown a worker while Redis is away
            asyncio.run(self._with_client(lambda client: self._tell(client, passed)))

    async def _tell(self, client: Any, passed_s: float) -> None:
        doorbell = Doorbell(client)
        self.is_deaf = self.is_deaf or await self._echo.look(client, doorbell, passed_s)
        await doorbell.aclose()
        facts = vitals(
            self._registry, queues=[self._queue], slots=self._slots, busy=self._messenger.busy,
            started_ms=self._started_ms, is_draining=self._leave_at is not None,
        )  # fmt: skip
        await Presence(client).beat(self.name, facts)

    async def _with_client(self, use: Any) -> None:
        from ..memory.client import make_client

        client = make_client(self._url)
        try:
            await use(client)
        finally:
            await client.aclose()


def slots_of(settings: "Settings", pool: PoolName) -> int:
    """Return how many calls a pool makes at a time: what was asked for, else what the machine has."""
    if pool == "solo":
        return 1
    if "slots" in settings.model_fields_set:
        return settings.slots
    return (os.cpu_count() or 1) if pool == "prefork" else MOST_THREADS
