"""One world per test: a Redis server, a model server, a sink for effects, and the processes under attack."""

import contextlib
import os
import signal
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import httpx2

from loopwright.memory.journal.ids import shard_of

from ..servers import RedisServer, find
from .processes import ModelProcess, Nursery, Process, eventually
from .toolbox.sink import noted

AGENTS = Path(__file__).parent / "toolbox" / "agents.py"
IS_FULL = os.environ.get("LOOPWRIGHT_CHAOS") == "full"
"""Whether tests run at the size of the specification, or at the short one of every commit."""

LEASE_S = 2.0
T = TypeVar("T", int, float)


def size(full: T, short: T) -> T:
    """Return how much of something a test does."""
    return full if IS_FULL else short


def free_port() -> int:
    """Return a TCP port of this machine that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class World:
    """Everything a test attacks, and the handles to do it.

    Args:
        folder: Where data and logs go.
        nursery: Forks the processes.
        model: The simulated model server.
        appendfsync: How Redis is set: `everysec` or `always`.
    """

    def __init__(self, folder: Path, nursery: Nursery, model: ModelProcess, appendfsync: str) -> None:
        self.folder = folder
        self.model = model
        self.sink = folder / "sink.jsonl"
        self.port = free_port()
        self.redis = RedisServer(find("system"), folder / "redis", port=str(self.port), appendfsync=appendfsync)
        self.workers: list[Process] = []
        self.api: Process | None = None
        self.url = ""
        self._nursery = nursery
        self._durability = appendfsync
        self._count = 0
        self._http: httpx2.Client | None = None

    @property
    def redis_url(self) -> str:
        """Where workers and API find Redis."""
        return f"redis://127.0.0.1:{self.port}/0"

    def start_worker(self, *argv: str, redis_url: str = "", **env: Any) -> Process:
        """Start one more worker; `env` are further variables."""
        self._count += 1
        asked = ["worker", *argv, str(AGENTS)]
        worker = self._nursery.start(f"worker{self._count}", *asked, env=self._env(redis_url) | _texts(env))
        self.workers.append(worker)
        return worker

    def start_api(self, redis_url: str = "", **env: Any) -> Process:
        """Start the API and wait until it listens."""
        asked = ["api", "--port", "0", str(AGENTS)]
        api = self._nursery.start("api", *asked, env=self._env(redis_url) | _texts(env))
        found = eventually(
            lambda: api.said(r"listening on (http://\S+)") or (not api.is_alive and api), what="the API listens"
        )
        assert not isinstance(found, Process), f"the API ended ({api.code}): {api.tail()}"
        self.api, self.url = api, found[1]
        return api

    def await_workers(self) -> None:
        """Wait until every worker takes runs."""
        for each in self.workers:
            eventually(lambda each=each: each.said("ready") or not each.is_alive, what="workers are ready")  # type: ignore[misc]

    def alive(self) -> list[Process]:
        """Return the workers that have not ended."""
        return [each for each in self.workers if each.is_alive]

    @property
    def http(self) -> httpx2.Client:
        """A client of the API, kept: making one costs more than most requests."""
        if self._http is None:
            self._http = httpx2.Client(base_url=self.url, timeout=30, verify=False)
        return self._http

    def pass_lease(self, run_id: str) -> None:
        """Let the lease of a worker that is dead run out now, and make the run due: the time passes, nothing else."""
        tag = f"{{s{shard_of(run_id):02d}}}"
        self.redis.command("HSET", f"{tag}:run:{run_id}", "lease_end", "1")
        self.redis.command("ZADD", f"{tag}:due", "XX", "1", run_id)

    def sent(self) -> list[dict[str, Any]]:
        """Return every effect that a tool had."""
        return [each for each in noted(self.sink) if each["kind"] == "sent"]

    def close(self) -> None:
        """End everything."""
        if self._http is not None:
            self._http.close()
        for process in [*self.workers, *([self.api] if self.api else [])]:
            process.send(signal.SIGCONT)
            process.kill()
        self.redis.close()

    def _env(self, redis_url: str) -> dict[str, str]:
        return {
            "LOOPWRIGHT_REDIS_URL": redis_url or self.redis_url,
            "LOOPWRIGHT_DURABILITY": self._durability,
            "LOOPWRIGHT_MODEL_URL": self.model.url,
            "LOOPWRIGHT_MODEL": "sim",
            "LOOPWRIGHT_MODEL_CONTEXT_TOKENS": "100000",
            "LOOPWRIGHT_LEASE_S": str(LEASE_S),
            "LOOPWRIGHT_DATA_DIR": str(self.folder / "data"),
            "CHAOS_SINK": str(self.sink),
        }


def _texts(env: Mapping[str, Any]) -> dict[str, str]:
    return {name: str(value) for name, value in env.items()}


@contextlib.contextmanager
def open_world(
    folder: Path, nursery: Nursery, *, appendfsync: str = "everysec", delay_s: float = 0.0
) -> Iterator[World]:
    """Yield a world with a running Redis and model server; API and workers are the test's to start."""
    folder.mkdir(parents=True, exist_ok=True)
    with ModelProcess(delay_s) as model:
        world = World(folder, nursery, model, appendfsync)
        try:
            world.redis.start()
            yield world
        finally:
            world.close()
