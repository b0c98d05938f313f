"""The API as a process of its own, started as a user starts it."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from ..servers import RedisServer

READY_S = 60.0
_READY = re.compile(r"loopwright api listening on (http://\S+)")

AGENTS = '''
from loopwright import Agent, tool


@tool(effect="read")
async def exchange_rate(base: str, quote: str) -> float:
    """Return how many units of `quote` one unit of `base` buys.

    Args:
        base: ISO 4217 code.
        quote: ISO 4217 code.
    """
    return 1.08


treasurer = Agent(name="treasurer", instructions="Answer money questions.", tools=[exchange_rate])
'''


class ApiProcess:
    """A running `loopwright api`."""

    def __init__(self, server: RedisServer, folder: Path, *options: str, **environment: str) -> None:
        agents = folder / "agents.py"
        agents.write_text(AGENTS)
        command = [sys.executable, "-m", "loopwright.cli", "api", str(agents), "--redis", server.url, "--port", "0"]
        command += ["--data-dir", str(folder / "data"), *options]
        self.process = subprocess.Popen(
            command, stderr=subprocess.PIPE, text=True, env=os.environ | {"PYTHONUNBUFFERED": "1"} | environment
        )
        self.said: list[str] = []
        self.url = ""
        self._listening = threading.Event()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def wait_until_ready(self) -> float:
        """Return the CPU seconds that it took until the process listened."""
        assert self._listening.wait(READY_S) and self.url, self.text
        return self.cpu_s()

    @property
    def text(self) -> str:
        """All that it wrote to standard error."""
        return "".join(self.said)

    def cpu_s(self) -> float:
        """Return the CPU seconds that it has used."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def stop(self) -> tuple[int, float]:
        """Ask it to end; return its exit code and the seconds that it took."""
        start = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30), time.monotonic() - start

    def end(self) -> None:
        """End it, whatever it does."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(30)
        self._reader.join(10)
        assert self.process.stderr is not None
        self.process.stderr.close()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.said.append(line)
            if found := _READY.search(line):
                self.url = found[1]
                self._listening.set()
        self._listening.set()


@contextlib.contextmanager
def api_process(server: RedisServer, folder: Path, *options: str, **environment: str) -> Iterator[ApiProcess]:
    """Run `loopwright api` for the length of the block."""
    process = ApiProcess(server, folder, *options, **environment)
    try:
        yield process
    finally:
        process.end()
