"""A `loopwright serve` of a test's own: started, looked into from outside, ended whatever happens."""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")
LONG_S = 60.0
"""Cap of every wait; none is ever waited out when things work."""


def eventually(look: Callable[[], T], what: str, within_s: float = LONG_S) -> T:
    """Return what `look` returns as soon as that is true."""
    end = time.monotonic() + within_s
    while not (found := look()):
        assert time.monotonic() < end, f"{what} did not come about within {within_s:g} s"
        time.sleep(0.03)
    return found


def environment(**variables: str) -> dict[str, str]:
    """Return our variables without any of Loopwright's, and those that are given."""
    mine = {name: value for name, value in os.environ.items() if not name.startswith("LOOPWRIGHT_")}
    return {**mine, **variables}


def alive(pid: int) -> bool:
    """Return whether a process runs; one that has ended and was not yet buried does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


class Served:
    """A running server."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.said: list[str] = []
        self.printed: list[str] = []
        self._threads = [self._reader(process.stderr, self.said), self._reader(process.stdout, self.printed)]

    @property
    def url(self) -> str:
        """Where it listens."""
        return eventually(self._url, f"the banner (it said {self.said})")

    @property
    def children(self) -> dict[str, int]:
        """Process ids of its parts by name: `api`, `worker`, `redis`."""
        found = {}
        for task in Path(f"/proc/{self.process.pid}/task").iterdir():
            for pid in (task / "children").read_text().split():
                with suppress(OSError):
                    line = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
                    if part := re.search(r"loopwright\.cli (api|worker)|(redis)-server \S*:?", line):
                        found[part[1] or part[2]] = int(pid)
        return found

    def child(self, name: str, other_than: int = 0) -> int:
        """Return the process id of a part, once it is another than one that is known."""

        def look() -> int | None:
            pid = self.children.get(name)
            return pid if pid != other_than else None

        return eventually(look, f"a {name} other than {other_than}") or 0

    def says(self, text: str) -> str:
        """Return the line on standard error that has a text, once it is there."""
        return eventually(lambda: next((line for line in self.said if text in line), ""), f"{text!r} in {self.said}")

    def end(self, number: int = signal.SIGTERM, within_s: float = 30.0) -> int:
        """Send a signal and return the exit code."""
        self.process.send_signal(number)
        code = self.process.wait(within_s)
        for thread in self._threads:
            thread.join(5)
        return code

    def _url(self) -> str:
        assert self.process.poll() is None, self.said
        found = re.search(r"is ready at (http\S+)", "".join(self.printed))
        return found[1] if found else ""

    def _reader(self, stream: object, into: list[str]) -> threading.Thread:
        def read() -> None:
            with suppress(ValueError):
                into.extend(stream)  # type: ignore[call-overload]

        thread = threading.Thread(target=read, daemon=True)
        thread.start()
        return thread


@contextmanager
def served(folder: Path, sources: Sequence[str], *options: str, **variables: str) -> Iterator[Served]:
    """Start `loopwright serve` in a folder; everything it started is gone behind the block."""
    process = subprocess.Popen(
        [sys.executable, "-m", "loopwright.cli", "serve", *sources, "--port", "0", *options],
        cwd=folder, env=environment(**variables), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    server = Served(process)
    try:
        yield server
    finally:
        parts = list(server.children.values()) if process.poll() is None else []
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        for pid in parts:
            if alive(pid):
                os.kill(pid, signal.SIGKILL)
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()
