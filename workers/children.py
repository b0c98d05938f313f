"""Child processes that serve: started, heard until they are ready, kept running, ended in time.

A child speaks on its standard error; what it says before it is ready is held back, so that a failed start can be told
in its own words once.
"""

import asyncio
import contextlib
import ctypes
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence

FIRST_PAUSE_S = 0.2
LONGEST_PAUSE_S = 10.0
"""Pause before a child that died is started again: doubled each time, up to this."""

HEALTHY_S = 10.0
"""A child that served for so long did not die of its start."""

KILL_WAIT_S = 5.0
LONGEST_LINE = 1 << 20

_PR_SET_PDEATHSIG = 1


def end_with(parent: int) -> None:
    """Have the kernel end this process with SIGTERM when its parent is gone; end at once if it is gone already.

    Elsewhere than on Linux nothing of the kind exists, and a child outlives a parent that is killed.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        sys.exit(1)


def how_it_ended(code: int) -> str:
    """Return an exit status in words."""
    if code >= 0:
        return f"ended with exit code {code}"
    with contextlib.suppress(ValueError):
        return f"was killed by {signal.Signals(-code).name}"
    return f"was killed by signal {-code}"


class Child:
    """A process of ours that serves.

    Args:
        name: Short, for people.
        command: What to run: the arguments behind `python -m loopwright.cli`.
        environment: All variables of the process.
        ready: Text in the line by which it says that it is ready.
        hear: Called with each line that it says otherwise.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        environment: Mapping[str, str],
        *,
        ready: str,
        hear: Callable[[str, str], None],
    ) -> None:
        self.name = name
        self.command = list(command)
        self.environment = dict(environment)
        self.ready = asyncio.Event()
        self.ready_line = ""
        self.held: list[str] = []
        self._mark = ready
        self._hear = hear
        self._process: asyncio.subprocess.Process | None = None
        self._listening: asyncio.Task[None] | None = None
        self._since = 0.0

    @property
    def pid(self) -> int | None:
        """Process id; `None` while it does not run."""
        return self._process.pid if self._process and self._process.returncode is None else None

    @property
    def lived_s(self) -> float:
        """Seconds since the last start."""
        return time.monotonic() - self._since

    async def start(self) -> None:
        """Start the process, in a session of its own: a Ctrl-C at the terminal is for its parent to act on."""
        self.held, self._since = [], time.monotonic()
        self.ready.clear()
        flags = [] if os.getcwd() in sys.path else ["-P"]
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, *flags, "-m", "loopwright.cli", *self.command, "--parent", str(os.getpid()),
            env=self.environment, stdin=asyncio.subprocess.DEVNULL, stdout=None, stderr=asyncio.subprocess.PIPE,
            start_new_session=True, limit=LONGEST_LINE,
        )  # fmt: skip
        self._listening = asyncio.create_task(self._listen(self._process), name=f"hear-{self.name}")

    async def wait(self) -> int:
        """Return the exit status once the process has ended and all it said was heard."""
        assert self._process is not None and self._listening is not None
        code = await self._process.wait()
        with contextlib.suppress(TimeoutError):  # a grandchild may hold the pipe open
            await asyncio.wait_for(asyncio.shield(self._listening), 1.0)
        return code

    def tell(self, number: signal.Signals) -> None:
        """Send the process a signal, if it runs."""
        if self.pid is not None and self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(number)

    async def end(self, grace_s: float) -> None:
        """End the process: ask, then insist once the grace period is over."""
        if self._process is None:
            return
        self.tell(signal.SIGTERM)
        try:
            await asyncio.wait_for(self._process.wait(), grace_s)
        except TimeoutError:
            self._hear(self.name, f"did not end within {grace_s:g} s and is killed")
            self.tell(signal.SIGKILL)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._process.wait(), KILL_WAIT_S)

    async def _listen(self, process: asyncio.subprocess.Process) -> None:
        assert process.stderr is not None
        while True:
            try:
                line = (await process.stderr.readline()).decode(errors="replace")
            except ValueError:  # a line beyond the limit; what follows it is heard again
                continue
            if not line:
                return
            self._take(line.rstrip("\n"))

    def _take(self, line: str) -> None:
        if self.ready.is_set():
            self._hear(self.name, line)
        elif self._mark in line:
            self.ready_line = line
            self.ready.set()
            for each in self.held:
                self._hear(self.name, each)
        else:
            self.held.append(line)


class Pauses:
    """How long to wait before a child is started again."""

    def __init__(self) -> None:
        self._next_s = FIRST_PAUSE_S

    def after(self, lived_s: float) -> float:
        """Return the pause in seconds, for a child that lived so long."""
        if lived_s >= HEALTHY_S:
            self._next_s = FIRST_PAUSE_S
        pause, self._next_s = self._next_s, min(LONGEST_PAUSE_S, 2 * self._next_s)
        return pause
