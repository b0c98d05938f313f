"""Real worker processes, a scripted model for them, and what a test does to runs."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from loopwright.agents.loader import load
from loopwright.memory.journal.ids import new_run_id
from loopwright.memory.store import Store, open_store
from loopwright.planner import events as ev
from loopwright.planner.state import RunState, fold
from loopwright.settings import Settings
from loopwright.testing import answer, call
from loopwright.workers.doorbell import Doorbell

from ..inference.fake_server import Act, FakeServer, Reply, Seen, completes, does, says

SOURCE = Path(__file__).with_name("agents_file.py")
PATIENCE_S = 60.0

_MAIN = (
    "import sys\n"
    "from loopwright.settings import load_settings\n"
    "from loopwright.telemetry import configure_logging\n"
    "from loopwright.workers.process import run_worker\n"
    "configure_logging()\n"
    "{before}\n"
    "sys.exit(run_worker(load_settings(), [{source!r}], queue={queue!r}, pool={pool!r}))\n"
)


class WorkerProcess:
    """A worker as its own process; ends with the test."""

    def __init__(
        self, url: str, model_url: str, log: Path, *, queue: str | None = None, pool: str = "asyncio",
        before: str = "", source: Path = SOURCE, **settings: Any,
    ) -> None:  # fmt: skip
        env = {f"LOOPWRIGHT_{name.upper()}": str(value) for name, value in settings.items()}
        env |= {"LOOPWRIGHT_REDIS_URL": url, "LOOPWRIGHT_MODEL_URL": model_url, "LOOPWRIGHT_TEST_LOG": str(log)}
        code = _MAIN.format(source=str(source), queue=queue, pool=pool, before=before)
        self.lines: list[str] = []
        self._process = subprocess.Popen(
            [sys.executable, "-c", code], env=os.environ | env, stderr=subprocess.PIPE, text=True
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        """Whether it still runs."""
        return self._process.poll() is None

    def ready(self, times: int = 1) -> "WorkerProcess":
        """Wait until it has said so often that it is ready."""
        eventually(lambda: sum(" ready: " in line for line in self.lines) >= times or not self.is_alive)
        assert self.is_alive, "".join(self.lines)
        return self

    def send(self, number: signal.Signals) -> None:
        """Send a signal."""
        self._process.send_signal(number)

    def wait(self, timeout_s: float = PATIENCE_S) -> int:
        """Wait for the end; return the exit code."""
        code = self._process.wait(timeout_s)
        self._reader.join(5)
        return code

    def close(self) -> None:
        """End it, whatever it does."""
        if self.is_alive:
            self._process.kill()
        self._process.wait(30)
        self._reader.join(5)
        assert self._process.stderr is not None
        self._process.stderr.close()

    def _read(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            self.lines.append(line)


class Shop:
    """Starts workers on one Redis and one model, and ends them."""

    def __init__(self, url: str, model: FakeServer, folder: Path) -> None:
        self.url = url
        self.model = model
        self.log = folder / "tools.log"
        self.log.touch()
        self.workers: list[WorkerProcess] = []

    def start(self, **options: Any) -> WorkerProcess:
        """Start a worker; it is not waited for."""
        given = {"lease_s": 2, **options}
        self.workers.append(WorkerProcess(given.pop("url", self.url), self.model.url, self.log, **given))
        return self.workers[-1]

    def noted(self, beginning: str = "") -> list[str]:
        """Return what tools wrote down."""
        return [line for line in self.log.read_text().splitlines() if line.startswith(beginning)]


@contextlib.contextmanager
def shop(url: str, folder: Path, reply: "Callable[[Seen], Reply] | None" = None) -> Iterator[Shop]:
    """Yield a shop with a model that obeys tasks; see `obedient`."""
    with FakeServer(reply or obedient) as model:
        opened = Shop(url, model, folder)
        try:
            yield opened
        finally:
            for worker in opened.workers:
                worker.close()


def obedient(seen: Seen) -> Reply:
    """Do what the task says, one word a step: `tool:{arguments}`, then answer. `stall` never answers."""
    if not seen.body.get("stream"):
        return completes("x")  # what the endpoint asks to learn the server's abilities
    messages = seen.body["messages"]
    wanted = json.loads(messages[1]["content"].partition("<<")[2].rpartition(">>")[0] or "[]")
    step = (len(messages) - 2) // 2
    if step >= len(wanted):
        return says(answer("done"))
    if wanted[step] == "stall":
        return does(Act.STALL)
    if wanted[step] == "gate":
        return Reply((Act.WAIT, *says(call("lookup", key="a")).parts))
    name, arguments = wanted[step]
    return says(call(name, **arguments))


def task(*steps: Any) -> str:
    """Return a task that `obedient` understands."""
    return f"<<{json.dumps(list(steps))}>>"


class Desk:
    """Submits runs and looks at them, as the API does."""

    def __init__(self, store: Store, agent_hash: str) -> None:
        self.store = store
        self.doorbell = Doorbell(store.client)
        self.agent_hash = agent_hash

    async def submit(self, text: str, *, ring: bool = True, **fields: Any) -> str:
        """Create a run and ring for it."""
        tenant = fields.pop("tenant", "local")
        run_id = fields.pop("run_id", None) or new_run_id(tenant)
        created = ev.RunCreated(
            run_id, tenant, fields.pop("agent", "clerk"), fields.pop("agent_hash", self.agent_hash), text,
            created_ms=time.time_ns() // 1_000_000, **fields,
        )  # fmt: skip
        await self.store.journal.create(created, due_in_s=5.0)
        if ring:
            await self.doorbell.ring(run_id, created.priority)
        return run_id

    async def end(self, run_id: str, timeout_s: float = PATIENCE_S) -> RunState:
        """Wait for a run's end and return its last state."""
        async with asyncio.timeout(timeout_s):
            return fold([each.event async for each in self.store.journal.follow(run_id)])

    async def events(self, run_id: str) -> list[ev.Event]:
        """Return what has happened so far."""
        return [each.event for each in await self.store.journal.read(run_id)]

    async def until(self, run_id: str, is_so: Callable[[list[ev.Event]], bool]) -> list[ev.Event]:
        """Wait until the events of a run are so."""
        deadline = time.monotonic() + PATIENCE_S
        while not is_so(found := await self.events(run_id)):
            assert time.monotonic() < deadline, [each.type for each in found]
            await asyncio.sleep(0.01)
        return found


@asynccontextmanager
async def desk(url: str, **settings: Any) -> AsyncIterator[Desk]:
    """Yield a desk on a Redis."""
    async with open_store(Settings(redis_url=url, **settings)) as store:
        opened = Desk(store, load(str(SOURCE))[0].hash)
        try:
            yield opened
        finally:
            await opened.doorbell.aclose()


def eventually(is_so: Callable[[], bool], timeout_s: float = PATIENCE_S) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + timeout_s
    while not is_so():
        assert time.monotonic() < deadline, "it never came to be"
        time.sleep(0.01)


def types(events: list[ev.Event]) -> list[str]:
    """Return the types of events."""
    return [each.type for each in events]


def forget_celery() -> None:
    """Forget what a Celery worker in this process left: its requests count until they are collected as garbage."""
    from celery.worker import state

    state.should_stop = None
    state.reserved_requests.clear()
    state.active_requests.clear()
