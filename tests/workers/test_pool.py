"""The pool inside a real Celery worker: one loop for coroutines, threads for functions, cancellation, and its size."""

import asyncio
import logging
import threading
from collections.abc import Iterator
from threading import Thread

import pytest

from loopwright.memory.journal.ids import new_run_id
from loopwright.workers.celery_app import Messenger, make_app
from loopwright.workers.doorbell import QUEUES, WAKE, envelope, queue_of
from loopwright.workers.pool import AioPool, LoopThread

from ..servers import RedisServer
from .support import eventually, forget_celery
from .test_celery_app import push


class Bench:
    """A Celery worker of the given size, with one coroutine task and one plain one."""

    def __init__(self, red: RedisServer, slots: int = 3) -> None:
        self.red = red
        self.queue = queue_of(new_run_id("acme"))
        self.started: list[str] = []
        self.ended: list[str] = []
        self.threads: set[str] = set()
        self.gate = threading.Event()
        self.thread = LoopThread("the-loop").start()
        self.app = make_app(red.url, [*QUEUES], wake=self._wake)
        self.app.conf.worker_enable_remote_control = True
        self.app.task(name="plain", shared=False)(self._plain)
        self.is_ready = False
        self.messenger = Messenger(
            self.app, name="bench", pool=AioPool.on(self.thread), slots=slots, on_ready=self._ready, on_echo=print
        )
        self._main = Thread(target=self.messenger.run, daemon=True)
        self._main.start()
        eventually(lambda: self.is_ready)

    def send(self, task: str, argument: str) -> str:
        """Put a message into the queue; return the Celery task's id."""
        import json

        message = envelope(task, self.queue, argument)
        push(self.red, self.queue, message)
        return str(json.loads(message)["headers"]["id"])

    def close(self) -> None:
        """End the worker and the loop."""
        self.gate.set()
        self.messenger.stop()
        self._main.join(30)
        forget_celery()
        self.thread.stop()
        self.app.close()

    def _ready(self) -> None:
        self.is_ready = True

    async def _wake(self, name: str) -> None:
        self.started.append(name)
        self.threads.add(threading.current_thread().name)
        if name == "fails":
            raise ValueError("a bug")
        if name == "exits":
            raise SystemExit(3)
        try:
            while name.startswith("waits") and not self.gate.is_set():
                await asyncio.sleep(0.005)
            self.ended.append(name)
        except asyncio.CancelledError:
            self.ended.append(f"{name} cancelled")
            raise

    def _plain(self, name: str) -> None:
        self.threads.add(threading.current_thread().name)
        self.ended.append(name)


@pytest.fixture
def bench(red: RedisServer) -> Iterator[Bench]:
    opened = Bench(red)
    yield opened
    opened.close()


def test_coroutines_share_one_loop_and_plain_functions_have_threads(bench: Bench) -> None:
    for number in range(10):
        bench.send(WAKE, f"c{number}")
    eventually(lambda: len(bench.ended) == 10)
    assert bench.threads == {"the-loop"}
    bench.send("plain", "p")
    eventually(lambda: "p" in bench.ended)
    assert bench.threads == {"the-loop", "loopwright-tool"}


def test_no_more_messages_are_taken_than_there_are_slots(bench: Bench) -> None:
    for number in range(8):
        bench.send(WAKE, f"waits {number}")
    eventually(lambda: len(bench.started) == 3)
    assert waiting(bench.red, bench.queue) >= 4  # one may be on its way to a worker that has no place for it yet
    assert bench.messenger.busy == 3
    bench.gate.set()
    eventually(lambda: len(bench.ended) == 8)
    eventually(lambda: bench.messenger.busy == 0)


def test_a_task_that_fails_or_wants_to_exit_hinders_nothing(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.CRITICAL):
        for name in ("fails", "exits", "good"):
            bench.send(WAKE, name)
        eventually(lambda: bench.ended == ["good"])
        eventually(lambda: bench.messenger.busy == 0)


def test_a_revoked_task_is_cancelled_where_it_waits(bench: Bench) -> None:
    task_id = bench.send(WAKE, "waits for long")
    eventually(lambda: bench.started == ["waits for long"])
    bench.app.control.revoke(task_id, terminate=True)
    eventually(lambda: bench.ended == ["waits for long cancelled"])
    eventually(lambda: bench.messenger.busy == 0)
    bench.send(WAKE, "next")
    eventually(lambda: "next" in bench.ended)


def test_a_worker_that_takes_no_more_leaves_messages_where_they_are(bench: Bench) -> None:
    bench.send(WAKE, "waits")
    eventually(lambda: bench.started == ["waits"])
    bench.messenger.take_no_more()
    eventually(lambda: b"loopwright" not in bench.red.command("CLIENT", "LIST") or is_idle(bench.red))
    bench.send(WAKE, "later")
    bench.gate.set()
    eventually(lambda: bench.ended == ["waits"])
    assert waiting(bench.red, bench.queue) == 1


def test_messages_of_a_long_queue_do_not_hold_up_those_of_other_lanes(red: RedisServer) -> None:
    """A tenant with two hundred messages before it, and one with a single message that comes last."""
    bench = Bench(red, slots=1)
    try:
        other = next(lane for name in range(100) if (lane := queue_of(new_run_id(f"t{name}"))) != bench.queue)
        bench.send(WAKE, "waits")
        eventually(lambda: bench.started == ["waits"])
        for number in range(200):
            bench.send(WAKE, f"n{number}")
        push(red, other, envelope(WAKE, other, "quiet"))
        bench.gate.set()
        eventually(lambda: len(bench.ended) == 202)
        assert bench.ended.index("quiet") <= 4
    finally:
        bench.close()


def waiting(red: RedisServer, queue: str) -> int:
    """Return the length of a queue."""
    return int(red.command("LLEN", queue).strip()[1:])


def is_idle(red: RedisServer) -> bool:
    """Return whether no client waits for messages any more."""
    return b"cmd=brpop" not in red.command("CLIENT", "LIST")
