"""Wake workers: which queues there are, what a message looks like, and the bell that rings.

A message only says that somebody should look at a run; losing, repeating or reordering one is harmless. So none goes
through Celery's producer (about a millisecond each): it is written here as Celery would write it, and everything that
is rung during one round trip leaves with the next. Importing this file imports no Celery.

Each queue is a Redis list under its own name; nothing else of Celery is kept in Redis. A run's wake-up goes into one
of `LANES` lanes of its priority, chosen by the shard of its tenant. Workers take from all lanes in turns, so a tenant
with ten thousand runs before it only stands before those who share its lane.
"""

import asyncio
import contextlib
import json
import uuid
from base64 import b64encode
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, get_args

import structlog

from ..errors import LoopwrightError, RunNotFound
from ..memory.client import TIMEOUT_S, translated
from ..memory.journal.ids import shard_of
from ..memory.journal.wire import Command, Wire, make_pool
from ..planner.events import Priority

if TYPE_CHECKING:
    from redis.asyncio import Redis

LANES = 8
"""Lanes per priority. More of them part more tenants, and make each wait for a message a longer command."""

PRIORITIES: tuple[Priority, ...] = get_args(Priority)
QUEUES = tuple(f"loopwright.{priority}.{lane}" for priority in PRIORITIES for lane in range(LANES))
"""The queues that wake workers, in no order: workers take from them in turns."""

WAKE, TOOL, ECHO = "loopwright.wake", "loopwright.tool", "loopwright.echo"
"""Names of the Celery tasks: look at a run, execute a call of a tool, hear oneself."""

ECHO_TTL_S = 60
"""How long an echo waits for a worker that is gone."""

MAX_BUFFERED = 50_000
"""Messages that wait to be sent; further ones are dropped, and the sweeper finds their runs."""

_log = structlog.get_logger(__name__)


def queue_of(run_id: str, priority: str = "normal") -> str:
    """Return the queue that wakes a run. Raises RunNotFound when the text is no run id."""
    known = priority if priority in PRIORITIES else "normal"
    return f"loopwright.{known}.{lane_of(run_id)}"


def lane_of(run_id: str) -> int:
    """Return the lane of a run. Raises RunNotFound when the text is no run id."""
    return shard_of(run_id) % LANES


def tool_queue(name: str) -> str:
    """Return the queue of tools that were declared with `queue=name`."""
    return f"loopwright.tool.{name}"


def echo_queue(worker_id: str) -> str:
    """Return the queue in which a worker hears itself."""
    return f"loopwright.echo.{worker_id}"


def envelope(task: str, queue: str, *arguments: Any) -> bytes:
    """Return a message as Celery (protocol 2, JSON) and kombu's Redis transport write it."""
    name = str(uuid.uuid4())
    embedded = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}
    headers: dict[str, Any] = {
        "lang": "py", "task": task, "id": name, "shadow": None, "eta": None, "expires": None, "group": None,
        "group_index": None, "retries": 0, "timelimit": [None, None], "root_id": name, "parent_id": None,
        "argsrepr": repr(arguments)[:200], "kwargsrepr": "{}", "origin": "loopwright", "ignore_result": True,
        "replaced_task_nesting": 0, "stamped_headers": None, "stamps": {},
    }  # fmt: skip
    properties = {
        "correlation_id": name, "reply_to": "", "delivery_mode": 2, "priority": 0, "body_encoding": "base64",
        "delivery_info": {"exchange": "", "routing_key": queue}, "delivery_tag": name,
    }  # fmt: skip
    message = {
        "body": b64encode(json.dumps([arguments, {}, embedded]).encode()).decode(),
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": headers,
        "properties": properties,
    }
    return json.dumps(message).encode()


async def backlog(client: "Redis") -> int:
    """Return how many wake-ups wait in all queues together.

    Raises:
        JournalUnavailable: Redis gave no answer.
    """
    asked: Any = client
    async with translated(), asked.pipeline(transaction=False) as pipe:
        for queue in QUEUES:
            pipe.llen(queue)
        return sum(await pipe.execute())


async def waiting_by_lane(client: "Redis") -> dict[int, int]:
    """Return how many wake-ups wait in each lane, whatever their priority. Raises JournalUnavailable."""
    asked: Any = client
    async with translated(), asked.pipeline(transaction=False) as pipe:
        for queue in QUEUES:
            pipe.llen(queue)
        lengths = await pipe.execute()
    return {lane: sum(lengths[lane::LANES]) for lane in range(LANES)}


class Doorbell:
    """Rings for runs, for calls of tools and for the worker itself; what is rung together leaves together.

    An instance belongs to the event loop of its first ring.

    Args:
        client: Its address is where the bell rings; the connection is one of its own.
    """

    def __init__(self, client: "Redis") -> None:
        self._wire = Wire(make_pool(client, TIMEOUT_S))
        self._waiting: dict[str, list[bytes]] = {}
        self._count = 0
        self._expires: dict[str, int] = {}
        self._sender: asyncio.Task[None] | None = None
        self._has_failed = False

    async def ring(self, run_id: str, priority: str = "normal") -> None:
        """Ask some worker to look at a run. Never waits and never raises: a lost ring costs one sweep, not a run."""
        self.ring_soon(run_id, priority)

    def ring_soon(self, run_id: str, priority: str = "normal") -> None:
        """Do what `ring` does, for callers that cannot await."""
        with contextlib.suppress(RunNotFound):
            queue = queue_of(run_id, priority)
            self._put(queue, envelope(WAKE, queue, run_id))

    async def ring_tool(self, name: str, payload: Mapping[str, Any] | str) -> None:
        """Hand a call of a tool to the workers of queue `name`. Never waits and never raises.

        Args:
            name: The tool's `queue`.
            payload: JSON object or text; the worker's Celery task gets it unchanged.
        """
        queue = tool_queue(name)
        self._put(queue, envelope(TOOL, queue, payload))

    async def ring_echo(self, worker_id: str, token: str) -> None:
        """Send a worker's own token through its own queue. Never waits and never raises."""
        queue = echo_queue(worker_id)
        self._expires[queue] = ECHO_TTL_S
        self._put(queue, envelope(ECHO, queue, token))

    async def flush(self) -> None:
        """Wait until what was rung is sent, or lost."""
        while self._sender is not None and not self._sender.done():
            await asyncio.shield(self._sender)

    async def aclose(self) -> None:
        """Send what waits, and hang up. The next ring connects again."""
        await self.flush()
        await self._wire.drop()

    def _put(self, queue: str, message: bytes) -> None:
        if self._count >= MAX_BUFFERED:
            return
        self._count += 1
        self._waiting.setdefault(queue, []).append(message)
        if self._sender is None or self._sender.done():
            self._sender = asyncio.get_running_loop().create_task(self._send(), name="doorbell")

    async def _send(self) -> None:
        """Send until nothing waits. What cannot be sent is dropped: the sweeper is there for it."""
        while self._waiting:
            batch, self._waiting, self._count = self._waiting, {}, 0
            commands: list[Command] = [("LPUSH", queue, *messages) for queue, messages in batch.items()]
            commands += [("EXPIRE", queue, self._expires[queue]) for queue in batch if queue in self._expires]
            problem = await self._exchange(commands) and await self._exchange(commands)  # the connection may be stale
            if problem and not self._has_failed:
                _log.warning("rings_lost", problem=problem, queues=len(batch))
            self._has_failed = problem is not None

    async def _exchange(self, commands: list[Command]) -> str | None:
        """Send commands; return what went wrong, if anything did."""
        try:
            async with translated():
                replies = await self._wire.exchange(commands)
        except LoopwrightError as exc:
            return str(exc)
        return next((str(each) for each in replies if isinstance(each, Exception)), None)
