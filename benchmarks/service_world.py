"""What the benchmarks of the service share: its processes, what they spend, and a client that costs little.

Redis, API, workers and the simulated model server are processes of their own, as in production; the CPU of each is
read from the kernel. A client speaks raw HTTP/1.1, so that the load generator does not starve what it measures.
"""

import asyncio
import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Self

from loopwright.tests.servers import RedisServer, find

ROOT = Path(__file__).resolve().parents[1]
AGENT = ROOT / "benchmarks" / "service_agent.py"
MODEL_SERVER = ROOT / "tests" / "load" / "model_server.py"
TICKS = os.sysconf("SC_CLK_TCK")
START_S = 60.0


class Process:
    """A child process, and what the kernel says of it."""

    def __init__(self, command: Sequence[str], ready: str, env: dict[str, str], cwd: Path = ROOT) -> None:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("LOOPWRIGHT_")}
        self._log = tempfile.NamedTemporaryFile("w+", prefix="bench-", suffix=".log")  # noqa: SIM115 - closed in end
        self._process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=self._log, stderr=self._log, env=kept | env, cwd=cwd
        )
        self.ready = self._await(ready)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def cpu_s(self) -> float:
        """Return the CPU seconds it has used so far."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def rss_kib(self) -> int:
        """Return its resident memory in KiB."""
        found = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{self.pid}/status").read_text())
        return int(found[1]) if found else 0

    def end(self) -> None:
        """End it, and whatever is left of it."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(15)
        self._process.kill()
        self._process.wait(10)
        self._log.close()

    def _await(self, pattern: str) -> re.Match[str]:
        deadline = time.monotonic() + START_S
        while True:
            said = Path(self._log.name).read_text(errors="replace")
            if found := re.search(pattern, said):
                return found
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"{self._process.args} did not get ready:\n{said[-3000:]}")
            time.sleep(0.01)


class Deployment:
    """A Redis and a model server; API and workers are started as a benchmark needs them.

    Args:
        folder: Where Redis keeps its data.
        delay_s: How long the model takes for a step.
    """

    def __init__(self, folder: Path, delay_s: float) -> None:
        self._redis = RedisServer(find("system"), folder / "redis")
        self._folder = folder
        self._delay_s = delay_s
        self._started: list[Process] = []

    def __enter__(self) -> Self:
        self._redis.start()
        command = [sys.executable, "-S", str(MODEL_SERVER), "--delay-s", str(self._delay_s)]
        self.model = self.start(command, r"(\d+)\n", {})
        self.model_url = f"http://127.0.0.1:{self.model.ready[1]}"
        return self

    def __exit__(self, *_: object) -> None:
        for each in reversed(self._started):
            each.end()
        self._redis.close()

    @property
    def env(self) -> dict[str, str]:
        """The variables of API and workers."""
        return {
            "LOOPWRIGHT_REDIS_URL": self._redis.url,
            "LOOPWRIGHT_MODEL_URL": f"{self.model_url}/v1",
            "LOOPWRIGHT_MODEL": "sim",
            "LOOPWRIGHT_MODEL_CONTEXT_TOKENS": "100000",
            "LOOPWRIGHT_DATA_DIR": str(self._folder / "data"),
        }

    def start(self, command: Sequence[str], ready: str, env: dict[str, str]) -> Process:
        """Start a process that is ended with the deployment."""
        process = Process(command, ready, env)
        self._started.append(process)
        return process

    def start_api(self) -> tuple[Process, int]:
        """Start the API; return it and its port."""
        command = [sys.executable, "-m", "loopwright.cli", "api", "--port", "0", str(AGENT)]
        process = self.start(command, r"listening on http://[^:\s]+:(\d+)", self.env)
        return process, int(process.ready[1])

    def start_worker(self, slots: int) -> Process:
        """Start one worker process."""
        command = [sys.executable, "-m", "loopwright.cli", "worker", str(AGENT)]
        return self.start(command, r"worker \S+ ready", self.env | {"LOOPWRIGHT_SLOTS": str(slots)})

    def redis(self, *command: str) -> bytes:
        """Ask Redis something; the raw reply."""
        return self._redis.command(*command)

    def redis_cpu_s(self) -> float:
        """Return the CPU seconds that Redis has used."""
        said = self._redis.command("INFO", "cpu").decode()
        return sum(float(re.search(rf"used_cpu_{kind}:([\d.]+)", said)[1]) for kind in ("sys", "user"))  # type: ignore[index]

    def seen(self) -> dict[str, list[tuple[int, str, int]]]:
        """Return which completions the model server was asked for, and when."""
        with urllib.request.urlopen(f"{self.model_url}/seen", timeout=60) as answer:
            found: dict[str, list[tuple[int, str, int]]] = json.load(answer)
        return found

    def forget(self) -> None:
        """Let the model server count anew."""
        urllib.request.urlopen(f"{self.model_url}/forget", data=b"{}", timeout=60).close()


@contextlib.contextmanager
def deployment(delay_s: float = 0.0) -> Iterator[Deployment]:
    """Yield an empty deployment."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder, Deployment(Path(folder), delay_s) as found:
        yield found


class RawClient:
    """One kept connection; one request at a time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, port: int) -> "RawClient":
        """Connect to a port of this machine."""
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    async def post(self, path: str, value: Any) -> tuple[int, bytes]:
        """Post JSON; return status and body."""
        body = json.dumps(value).encode()
        head = f"POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\ncontent-length: "
        self._writer.write(head.encode() + f"{len(body)}\r\n\r\n".encode() + body)
        head_bytes = await self._reader.readuntil(b"\r\n\r\n")
        found = re.search(rb"content-length: *(\d+)", head_bytes, re.IGNORECASE)
        if found is None:
            raise SystemExit(f"an answer without a length: {head_bytes!r}")
        return int(head_bytes.split(b" ", 2)[1]), await self._reader.readexactly(int(found[1]))

    def close(self) -> None:
        """Hang up."""
        self._writer.close()


def run_body(tag: str, calls: int = 0) -> dict[str, Any]:
    """Return a run request with so many calls before the answer."""
    return {"agent": "bench", "task": f"run={tag} plan={','.join(['add'] * calls)}"}
