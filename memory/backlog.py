"""How much waits: wake-ups in each queue, and runs that are due and that nobody has looked at yet."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis

from .client import translated
from .journal.ids import SHARDS
from .journal.scripts import due_key


@dataclass(frozen=True, slots=True)
class Backlog:
    """What waits.

    Attributes:
        queued: Messages per queue.
        due: Runs whose moment has come: nobody drives them.
        oldest_s: For how long the first of them has been due, in seconds.
    """

    queued: dict[str, int]
    due: int = 0
    oldest_s: float = 0.0


async def read_backlog(client: Redis, queues: Sequence[str]) -> Backlog:
    """Return what waits; two round trips, whatever the number of runs.

    Raises:
        JournalUnavailable: Redis gave no answer.
    """
    asked: Any = client
    async with translated():
        async with asked.pipeline(transaction=False) as pipe:
            pipe.time()
            for queue in queues:
                pipe.llen(queue)
            for shard in range(SHARDS):
                pipe.zrange(due_key(shard), 0, 0, withscores=True)
            (seconds, micros), *replies = await pipe.execute()
        now_ms = seconds * 1000 + micros // 1000
        lengths, heads = replies[: len(queues)], replies[len(queues) :]
        first = {shard: head[0][1] for shard, head in enumerate(heads) if head and head[0][1] <= now_ms}
        async with asked.pipeline(transaction=False) as pipe:
            for shard in first:
                pipe.zcount(due_key(shard), "-inf", now_ms)
            counts = await pipe.execute() if first else []
    oldest_s = max(0.0, now_ms - min(first.values())) / 1000 if first else 0.0
    return Backlog(dict(zip(queues, lengths, strict=True)), sum(counts), oldest_s)
