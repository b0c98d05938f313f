"""Which workers are there: each says so every few seconds, and who was silent for ten is not listed any more.

| key             | type | holds                                                     | lives         |
|-----------------|------|-----------------------------------------------------------|---------------|
| lw:workers      | zset | worker id -> when it was last heard of                    | until silent  |
| lw:worker:<id>  | hash | `facts`: JSON object, `at`: when it was last heard of     | `SILENT_S` on |

Moments are milliseconds since 1970 by the server's clock. Nothing depends on presence but what people are shown: runs
are kept by their leases.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic_core import from_json, to_json
from redis.asyncio import Redis

from .client import translated

WORKERS = "lw:workers"

SILENT_S = 10.0
"""A worker that was not heard of for so long counts as gone, in seconds."""

BEAT_S = 2.0
"""How often a worker says that it is there, in seconds."""


@dataclass(frozen=True, slots=True)
class Worker:
    """A worker process, as it described itself.

    Attributes:
        id: Host, process id and random digits.
        heard_ms: When it was last heard of, in milliseconds since 1970.
        host: Its machine.
        pid: Its process there.
        slots: How many runs (or calls of tools) it takes at a time.
        busy: How many it has.
        agents: Name to hash of the agents it knows.
        queues: What it takes messages from: `runs`, or names of tool queues.
        version: Of Loopwright.
        started_ms: When it started.
        is_draining: Whether it takes no more.
    """

    id: str
    heard_ms: int
    host: str = ""
    pid: int = 0
    slots: int = 0
    busy: int = 0
    agents: Mapping[str, str] = field(default_factory=dict)
    queues: tuple[str, ...] = ()
    version: str = ""
    started_ms: int = 0
    is_draining: bool = False


@dataclass(frozen=True, slots=True)
class Heard:
    """What all workers that take runs have together."""

    workers: int = 0
    slots: int = 0
    busy: int = 0


class Presence:
    """Says that a worker is there, and lists who is."""

    def __init__(self, client: Redis) -> None:
        self._client: Any = client

    async def beat(self, worker_id: str, facts: Mapping[str, Any]) -> None:
        """Say that a worker is there.

        Args:
            worker_id: Its id.
            facts: Fields of `Worker`, as JSON values.

        Raises:
            JournalUnavailable: Redis gave no answer.
        """
        async with translated():
            await self._client.eval(_BEAT, 2, WORKERS, _key(worker_id), worker_id, to_json(facts), int(SILENT_S * 1000))

    async def leave(self, worker_id: str) -> None:
        """Say that a worker is gone. Raises JournalUnavailable."""
        async with translated(), self._client.pipeline(transaction=True) as pipe:
            pipe.zrem(WORKERS, worker_id)
            pipe.delete(_key(worker_id))
            await pipe.execute()

    async def list(self) -> list[Worker]:
        """Return the workers that were heard of lately, by id. Raises JournalUnavailable."""
        async with translated():
            ids = await self._client.zrange(WORKERS, 0, -1)
            async with self._client.pipeline(transaction=False) as pipe:
                for worker_id in ids:
                    pipe.hmget(_key(worker_id.decode()), "facts", "at")
                rows = await pipe.execute() if ids else []
        alive = [_worker(name.decode(), facts, at) for name, (facts, at) in zip(ids, rows, strict=True) if facts and at]
        return sorted(alive, key=lambda each: each.id)

    async def total(self) -> Heard:
        """Return what all workers that take runs have together. Raises JournalUnavailable."""
        alive = [each for each in await self.list() if "runs" in each.queues and not each.is_draining]
        return Heard(len(alive), sum(each.slots for each in alive), sum(each.busy for each in alive))


def _key(worker_id: str) -> str:
    return f"lw:worker:{worker_id}"


def _worker(worker_id: str, facts: bytes, at: bytes) -> Worker:
    known = {name: value for name, value in from_json(facts).items() if name in Worker.__dataclass_fields__}
    known["queues"] = tuple(known.get("queues", ()))
    return Worker(**{**known, "id": worker_id, "heard_ms": int(at)})


_BEAT = """
-- KEYS workers, worker. ARGV id, facts, ms of silence. Those that fell silent leave the list.
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
redis.call('ZADD', KEYS[1], now, ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('(%.0f', now - ARGV[3]))
redis.call('HSET', KEYS[2], 'facts', ARGV[2], 'at', string.format('%.0f', now))
redis.call('PEXPIRE', KEYS[2], ARGV[3])
"""
