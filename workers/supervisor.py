"""What `loopwright serve` runs: an embedded Redis unless one is named, the API and workers, kept alive, ended in order.

The processes know nothing of each other but Redis. Any of them may be killed at any moment: it is started again, and
runs go on from their journals.
"""

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from ..cli_render import printable, printable_json, printable_lines
from .children import Child, Pauses, how_it_ended

if TYPE_CHECKING:
    from ..memory.server import EmbeddedRedis
    from ..settings import Settings

API_READY = "listening on "
WORKER_READY = " ready: "
TOLD_ALREADY = "no API keys, so"
"""What the API says of itself and the banner says anyway."""

START_S = 60.0
"""Longest wait for the first start of all parts, in seconds."""

MARGIN_S = 2.0
"""What a child gets beyond its own grace period before it is killed."""

LOOK_S = 0.5
"""How often the embedded Redis is looked at, in seconds."""


def supervise(settings: "Settings", sources: Sequence[str], *, workers: int = 1, as_json: bool = False) -> int:
    """Serve until SIGTERM or SIGINT; a second one ends everything at once.

    Args:
        settings: Where to listen, the model, Redis, the grace period.
        sources: Files, folders or modules with agents.
        workers: How many worker processes to run.
        as_json: Say as JSON that all is ready, instead of as a banner.

    Returns:
        The exit code: 0 after a signal, else that of the part that could not be started.

    Raises:
        RedisMissing: None is named, and no server program was found or it does not start.
    """
    return asyncio.run(Supervisor(settings, sources, workers, as_json).run())


class Supervisor:
    """Runs all parts of a server on one machine. Arguments as for `supervise`."""

    def __init__(self, settings: "Settings", sources: Sequence[str], workers: int, as_json: bool = False) -> None:
        self._as_json = as_json
        self._settings = settings
        self._sources = list(sources)
        self._redis: EmbeddedRedis | None = None
        self._api = self._child("api", ["api", *sources], API_READY)
        self._workers = [
            self._child("worker" if workers == 1 else f"worker {number}", ["worker", *sources], WORKER_READY)
            for number in range(1, workers + 1)
        ]
        self._stopping = asyncio.Event()
        self._is_hurried = False
        self._code = 0

    async def run(self) -> int:
        """Serve until told to stop; return the exit code."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._on_signal)
        async with AsyncExitStack() as stack:
            if self._settings.redis_url is None:
                from ..memory.connect import start_embedded

                self._redis = await stack.enter_async_context(await start_embedded(self._settings))
            while not self._stopping.is_set():
                await self._serve()
        return self._code

    async def _serve(self) -> None:
        """Serve on one Redis until told to stop, or until that Redis is lost and started again."""
        children = [self._api, *self._workers]
        began = time.monotonic()
        keeping = [asyncio.create_task(self._keep(child), name=f"keep-{child.name}") for child in children]
        lost = asyncio.create_task(self._redis_lost(), name="redis-lost")
        told = asyncio.create_task(self._told(), name="told")
        try:
            if await self._all_ready(children):
                await self._announce(time.monotonic() - began)
            await asyncio.wait({lost, told}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (*keeping, lost, told):
                task.cancel()
            await asyncio.gather(*keeping, lost, told, return_exceptions=True)
            await self._end_children()
        if not self._stopping.is_set() and self._redis is not None:
            self._say("the embedded Redis has died; it is started again on the same data")
            await asyncio.to_thread(self._redis.stop)
            await self._redis.start_async()

    async def _keep(self, child: Child) -> None:
        """Run a child, and run it again whenever it ends by itself."""
        pauses = Pauses()
        was_ready = False
        while True:
            child.environment = self._environment()
            await child.start()
            code = await child.wait()
            was_ready = was_ready or child.ready.is_set()
            if not was_ready:
                self._give_up(child, code)
                return
            if not child.ready.is_set():
                for line in child.held:
                    self._hear(child.name, line)
            pause = pauses.after(child.lived_s)
            runs = f"; its runs go on within {self._settings.lease_s:g} s" if child in self._workers else ""
            self._say(f"{child.name} {how_it_ended(code)}; it is started again in {pause:g} s{runs}")
            await asyncio.sleep(pause)

    def _give_up(self, child: Child, code: int) -> None:
        """End everything because a part cannot be started; it has said why."""
        if self._stopping.is_set():
            return
        for line in child.held:
            print(line, file=sys.stderr, flush=True)
        if not child.held:
            self._say(f"{child.name} could not be started: it {how_it_ended(code)}")
        self._code = code if code > 0 else 1
        self._stopping.set()

    async def _all_ready(self, children: Sequence[Child]) -> bool:
        """Return whether all parts became ready, rather than the server being told to stop."""

        async def ready() -> None:
            for child in children:
                await child.ready.wait()

        everything = asyncio.create_task(ready())
        told = asyncio.create_task(self._told())
        try:
            await asyncio.wait({everything, told}, timeout=START_S, return_when=asyncio.FIRST_COMPLETED)
            if not everything.done() and not told.done():
                late = ", ".join(child.name for child in children if not child.ready.is_set())
                self._say(f"not ready after {START_S:g} s: {late}; still waiting")
                await asyncio.wait({everything, told}, return_when=asyncio.FIRST_COMPLETED)
            return everything.done() and not told.done()
        finally:
            everything.cancel()
            told.cancel()

    async def _told(self) -> None:
        await self._stopping.wait()

    async def _redis_lost(self) -> None:
        """Return when the embedded Redis is gone."""
        while self._redis is None or await asyncio.to_thread(lambda: self._redis is None or self._redis.is_running):
            await asyncio.sleep(LOOK_S)

    async def _end_children(self) -> None:
        """End workers, which hand their runs over, then the API, which can show it."""
        grace_s = self._settings.grace_s + MARGIN_S
        await asyncio.gather(*(self._ended(child, grace_s) for child in self._workers))
        await self._ended(self._api, grace_s)

    async def _ended(self, child: Child, grace_s: float) -> None:
        if self._is_hurried:
            child.tell(signal.SIGKILL)
        await child.end(grace_s)

    def _on_signal(self) -> None:
        """Stop in order; the second time, at once."""
        if not self._stopping.is_set():
            self._say("stopping: workers hand their runs over; press Ctrl-C again to stop at once")
            self._stopping.set()
            return
        self._is_hurried = True
        for child in (*self._workers, self._api):
            child.tell(signal.SIGKILL)

    def _child(self, name: str, command: list[str], ready: str) -> Child:
        return Child(name, command, {}, ready=ready, hear=self._hear)

    def _environment(self) -> dict[str, str]:
        """Return the variables of a child: ours, and every setting that was given. Nothing secret is an argument."""
        settings = self._settings
        given = {name: getattr(settings, name) for name in settings.model_fields_set}
        if self._redis is not None:
            given["redis_url"] = self._redis.url
        if self._url:
            given["port"] = int(self._url.rpartition(":")[2])
        told = {f"LOOPWRIGHT_{name.upper()}": _text(value) for name, value in given.items() if value is not None}
        return {**os.environ, **told}

    @property
    def _url(self) -> str:
        """Where the API listens; empty before it has said so."""
        return self._api.ready_line.partition(API_READY)[2].strip()

    async def _announce(self, took_s: float) -> None:
        """Print the banner: where the server is, and what it is made of."""
        from .banner import look_around

        found = await look_around(self._url, self._settings, self._sources, len(self._workers), self._redis, took_s)
        text = printable_json(found.json) if self._as_json else "\n".join(map(printable, found.lines))
        with contextlib.suppress(OSError):  # nobody reads us; serving goes on
            print(text, flush=True)

    def _hear(self, name: str, line: str) -> None:
        """Pass on what a child says: with its name to people, as it is to machines."""
        if TOLD_ALREADY in line:
            return
        shown = f"{name:<8} | {printable(line)}" if sys.stderr.isatty() else line
        print(shown, file=sys.stderr, flush=True)

    def _say(self, text: str) -> None:
        print(printable_lines(f"loopwright: {text}"), file=sys.stderr, flush=True)


def _text(value: object) -> str:
    """Return a setting as its environment variable says it."""
    reveal = getattr(value, "get_secret_value", None)
    return str(reveal() if reveal else value)
