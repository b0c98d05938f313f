"""Mistreat the wake-ups in Redis: publish them again, in another order, or drop them. Celery cannot tell."""

import random
from typing import Any

import redis

from loopwright.workers.doorbell import QUEUES


class QueueNemesis:
    """Attacks the queues of one Redis.

    Args:
        url: The Redis.
        seed: Of the order.
    """

    def __init__(self, url: str, seed: int = 0) -> None:
        self._redis: Any = redis.Redis.from_url(url)
        self._random = random.Random(seed)

    def waiting(self) -> int:
        """Return how many wake-ups wait."""
        return sum(int(self._redis.llen(name)) for name in QUEUES)

    def multiply(self, times: int) -> int:
        """Publish each waiting wake-up so many times in all, shuffled over all queues; return how many wait then."""
        found = [each for name in QUEUES for each in self._redis.lrange(name, 0, -1)] * times
        self._random.shuffle(found)
        pipe = self._redis.pipeline()
        pipe.delete(*QUEUES)
        for message in found:
            pipe.lpush(self._random.choice(QUEUES), message)
        pipe.execute()
        return self.waiting()

    def drop(self) -> int:
        """Lose every wake-up that waits; return how many those were."""
        lost = self.waiting()
        self._redis.delete(*QUEUES)
        return lost

    def close(self) -> None:
        """Close the connection."""
        self._redis.close()
