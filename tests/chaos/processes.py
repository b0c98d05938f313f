"""Start, kill, stop and continue the processes under attack, each known by its pid."""

import contextlib
import json
import os
import queue
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

HERE = Path(__file__).parent
MODEL_SERVER = HERE.parent / "load" / "model_server.py"
START_S = 60.0
T = TypeVar("T")


def eventually(holds: Callable[[], T], within_s: float = 60.0, every_s: float = 0.05, what: str = "") -> T:
    """Return the first true value of `holds()`; fail when there is none in time."""
    deadline = time.monotonic() + within_s
    while not (value := holds()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {within_s:g} s: {what or holds}")
        time.sleep(every_s)
    return value


@dataclass
class Process:
    """A command that was forked by the nursery."""

    name: str
    pid: int
    log: Path
    code: int | None = None
    ended: threading.Event = field(default_factory=threading.Event)

    @property
    def is_alive(self) -> bool:
        """Whether it has not ended yet."""
        return not self.ended.is_set()

    def send(self, number: signal.Signals) -> None:
        """Send a signal, if the process is there."""
        with contextlib.suppress(ProcessLookupError):
            if self.is_alive:
                os.kill(self.pid, number)

    def kill(self) -> None:
        """End it as a crash would, and wait until it is gone."""
        self.send(signal.SIGKILL)
        self.wait(10)

    def wait(self, within_s: float) -> int:
        """Return the exit code, a signal as a negative number."""
        assert self.ended.wait(within_s), f"{self.name} (pid {self.pid}) did not end within {within_s:g} s"
        assert self.code is not None
        return self.code

    def said(self, pattern: str) -> re.Match[str] | None:
        """Return the first place in its output that matches."""
        return re.search(pattern, self.log.read_text(errors="replace")) if self.log.exists() else None

    def tail(self) -> str:
        """Return the end of its output, for the message of a failure."""
        return self.log.read_text(errors="replace")[-3000:] if self.log.exists() else "(said nothing)"


class Nursery:
    """Forks `loopwright` commands from a process that has imported everything.

    Args:
        folder: Where the processes' output goes.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._children: dict[int, Process] = {}
        self._pids: queue.Queue[int] = queue.Queue()
        self._count = 0
        self._early: dict[int, int] = {}
        self._lock = threading.Lock()
        self._asking = threading.Lock()

    def __enter__(self) -> Self:
        errors = (self._folder / "nursery.log").open("wb")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.chaos.nursery"], cwd=HERE.parents[1],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, env=plain_environment(),
        )  # fmt: skip
        errors.close()
        assert self._process.stdout is not None
        ready = self._process.stdout.readline()
        assert ready, f"the nursery did not start: {(self._folder / 'nursery.log').read_text()}"
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for child in self._children.values():
            child.send(signal.SIGKILL)
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(20)
        self._listener.join(20)
        self._process.stdout.close()

    def start(self, name: str, *argv: str, env: Mapping[str, str]) -> Process:
        """Run `loopwright ARGV...` with these variables. May be called from several threads."""
        with self._asking:
            self._count += 1
            log = self._folder / f"{self._count:03d}-{name}.log"
            order = {"argv": argv, "env": dict(env), "log": str(log)}
            assert self._process.stdin is not None
            self._process.stdin.write(json.dumps(order).encode() + b"\n")
            self._process.stdin.flush()
            child = Process(name, self._pids.get(timeout=START_S), log)
        with self._lock:
            self._children[child.pid] = child
            if child.pid in self._early:
                self._end(child, self._early.pop(child.pid))
        return child

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            told = json.loads(line)
            if "pid" in told:
                self._pids.put(told["pid"])
                continue
            with self._lock:
                child = self._children.get(told["ended"])
                if child is None or not child.is_alive:
                    self._early[told["ended"]] = told["code"]
                else:
                    self._end(child, told["code"])

    @staticmethod
    def _end(child: Process, code: int) -> None:
        child.code = code
        child.ended.set()


def plain_environment() -> dict[str, str]:
    """Return this process's environment without the developer's own settings, and with one thread for libraries."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("LOOPWRIGHT_", "CHAOS_"))}
    return kept | {"PYTHONUNBUFFERED": "1", "OPENBLAS_NUM_THREADS": "1"}


class ModelProcess:
    """The simulated model server in a process of its own."""

    def __init__(self, delay_s: float = 0.0, port: int = 0) -> None:
        self._delay_s = delay_s
        self._port = port

    def __enter__(self) -> Self:
        command = [sys.executable, "-S", str(MODEL_SERVER), "--delay-s", str(self._delay_s), "--port", str(self._port)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL)
        assert self._process.stdout is not None
        self._port = int(self._process.stdout.readline())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait(10)
        assert self._process.stdout is not None
        self._process.stdout.close()

    @property
    def url(self) -> str:
        """Base URL for `--model-url`."""
        return f"http://127.0.0.1:{self._port}/v1"

    def set(self, **how: float) -> None:
        """Change how later completions behave: `delay_s`, `status`."""
        self._control("/set", json.dumps(how).encode())

    def seen(self) -> dict[str, list[tuple[int, str, int]]]:
        """Return the completions that were asked for: tag of the run to (step, hash of the messages, moment)."""
        return {tag: [tuple(each) for each in asked] for tag, asked in self._control("/seen").items()}

    def count(self) -> dict[str, int]:
        """Return the number of completions and of open connections."""
        found: dict[str, int] = self._control("/count")
        return found

    def _control(self, path: str, body: bytes | None = None) -> Any:
        with urllib.request.urlopen(self.url.removesuffix("/v1") + path, data=body, timeout=20) as answer:
            return json.loads(answer.read())
