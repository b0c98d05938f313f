"""Drive suspects alone: a run that may be what killed its workers gets a process of its own, one step at a time.

The worker starts a child process when it needs one and keeps it. They talk over a socket pair, a JSON object a line:
`{"do": run id}`, `{"stop": now or not}` down, `{"done": run id}` up. A child drives its run until that has made
progress, hands it over and rings for it. A child that dies takes nothing with it but the run that it had; the next
claim then finds one loss more, and convicts. The child is killed when its worker dies.

    python -m loopwright.workers.quarantine FILE_DESCRIPTOR
"""

import asyncio
import contextlib
import ctypes
import json
import os
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import structlog

from .runner import ALONE, Runner

if TYPE_CHECKING:
    from ..settings import Settings

LINE_BYTES = 1 << 20
"""Longest line that is read; the first one holds the settings."""

CHILDREN = 4
"""Most child processes of one worker."""

END_S = 2.0
"""How long a child may take to end when its worker does, in seconds."""

_log = structlog.get_logger(__name__)


class Quarantine:
    """The worker's side: some children, each with one run at a time. Belongs to one event loop.

    The thread of that loop must live as long as the process.

    Args:
        settings: Handed to the children; `redis_url` must be set.
        sources: Where they find the agents.
        name: The worker's id.
    """

    def __init__(self, settings: "Settings", sources: Sequence[str], name: str) -> None:
        self._settings = settings
        self._sources = list(sources)
        self._name = name
        self._turns = asyncio.Semaphore(CHILDREN)
        self._idle: list[_Child] = []
        self._busy: set[_Child] = set()
        self._is_stopping = False

    async def drive(self, run_id: str) -> None:
        """Wait until a child is free, then until it has done with the run, or has died of it."""
        async with self._turns:
            if self._is_stopping:
                return
            child = self._idle.pop() if self._idle else _Child()
            self._busy.add(child)
            try:
                is_done = await child.drive(run_id, self._first_line)
            except OSError as exc:
                is_done = False
                _log.error("quarantine_failed", run_id=run_id, kind=type(exc).__name__)
            finally:
                self._busy.discard(child)
                self._idle.append(child)
            if not is_done and not self._is_stopping:
                _log.error("suspect_ended_its_process", run_id=run_id)

    def stop(self, *, now: bool = False) -> None:
        """Take nothing more; let the runs that are driven go at their next step boundary, or now."""
        self._is_stopping = True
        for child in self._busy:
            child.stop(now)

    async def aclose(self) -> None:
        """End the children."""
        self._is_stopping = True
        await asyncio.gather(*(child.end() for child in (*self._idle, *self._busy)))

    def _first_line(self) -> dict[str, Any]:
        settings = {
            name: value.get_secret_value() if hasattr(value, "get_secret_value") else value
            for name, value in self._settings
        }
        return {"settings": settings, "sources": self._sources, "name": self._name, "parent": os.getpid()}


class _Child:
    """One child process, started at first use and again after its death."""

    def __init__(self) -> None:
        self._ending = asyncio.Lock()
        self._process: asyncio.subprocess.Process | None = None
        self._reader: asyncio.StreamReader
        self._writer: asyncio.StreamWriter | None = None

    async def drive(self, run_id: str, first_line: Callable[[], dict[str, Any]]) -> bool:
        """Have a run driven; return whether the child survived it. One that does not say so is ended: it may go on."""
        is_done = False
        try:
            if not await self._takes(run_id):
                await self.end()
                await self._start(first_line())
                await self._say({"do": run_id})
            is_done = bool(await self._reader.readline())
        finally:
            if not is_done:
                await self.end()
        return is_done

    async def _takes(self, run_id: str) -> bool:
        """Return whether there is a child that was told of the run; one may have died while it had nothing to do."""
        if self._writer is None:
            return False
        try:
            await self._say({"do": run_id})
        except OSError:
            return False
        return True

    def stop(self, now: bool) -> None:
        """Tell the child to let its run go."""
        if self._writer is not None:
            with contextlib.suppress(OSError, RuntimeError):
                self._writer.write(_line({"stop": now}))

    async def end(self) -> None:
        """Hang up, wait for the child's end, and bring it about if need be."""
        async with self._ending:
            if self._writer is not None:
                self._writer.close()
                self._writer = None
            if self._process is not None:
                await self._wait_or_kill(self._process)
                self._process = None

    async def _wait_or_kill(self, process: asyncio.subprocess.Process) -> None:
        with contextlib.suppress(ProcessLookupError):
            try:
                async with asyncio.timeout(END_S):
                    await process.wait()
            except TimeoutError:
                process.kill()
                await process.wait()

    async def _start(self, first_line: dict[str, Any]) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", __name__, str(theirs.fileno()), pass_fds=(theirs.fileno(),),
                stdin=asyncio.subprocess.DEVNULL,
            )  # fmt: skip
        self._reader, self._writer = await asyncio.open_connection(sock=ours, limit=LINE_BYTES)
        await self._say(first_line)

    async def _say(self, message: dict[str, Any]) -> None:
        assert self._writer is not None
        self._writer.write(_line(message))
        await self._writer.drain()


def _line(message: dict[str, Any]) -> bytes:
    return json.dumps(message).encode() + b"\n"


async def _serve(link: socket.socket) -> None:
    """Do what the worker says until it hangs up."""
    from ..agents.loader import load
    from ..agents.registry import Registry
    from ..memory.journal.remote import RemoteCalls
    from ..memory.store import open_store
    from ..settings import Settings
    from .doorbell import Doorbell
    from .tool_queue import QueuedTools

    reader, writer = await asyncio.open_connection(sock=link, limit=LINE_BYTES)
    given = json.loads(await reader.readline())
    _die_with(given["parent"])
    settings = Settings(**given["settings"])
    registry = Registry(agent for source in given["sources"] for agent in load(source))
    async with open_store(settings) as store:
        doorbell = Doorbell(store.client)
        remote = QueuedTools(RemoteCalls(store.client, durability=settings.durability), doorbell)
        runner = Runner(store, registry, settings, doorbell, name=given["name"] + ALONE, remote=remote)
        try:
            await _obey(reader, writer, runner)
        finally:
            await runner.let_go()
            await doorbell.aclose()
            await runner.aclose()
            await store.metrics.flush()
            writer.close()


async def _obey(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, runner: Runner) -> None:
    work: asyncio.Task[None] | None = None

    async def look(run_id: str) -> None:
        await runner.wake(run_id)
        writer.write(_line({"done": run_id}))
        await writer.drain()

    while line := await reader.readline():
        message = json.loads(line)
        if "do" in message:
            work = asyncio.create_task(look(message["do"]))
        elif message["stop"]:
            await runner.let_go()
        else:
            runner.stop("drain")
    if work is not None and not work.done():
        await runner.let_go()
        await asyncio.gather(work, return_exceptions=True)


def _die_with(parent: int) -> None:
    """Have the kernel kill this process when its worker dies; where it cannot, the closed socket has to do."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)


def main() -> None:
    """Entry point of the child."""
    from ..telemetry import configure_logging

    configure_logging()
    for each in (signal.SIGINT, signal.SIGTERM):  # the worker says when it is over, also when a terminal tells all
        signal.signal(each, lambda *_: None)  # not SIG_IGN: what a tool starts would inherit that
    asyncio.run(_serve(socket.socket(fileno=int(sys.argv[1]))))


if __name__ == "__main__":
    main()
