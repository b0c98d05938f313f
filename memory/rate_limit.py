"""How many requests a key may make: a token bucket in Redis, so that all API processes count together.

A bucket holds `burst` tokens and gains `rate` a second; a request takes one. Stored is only the moment at which the
bucket will be full again (the generic cell rate algorithm of the ATM Forum), under `lw:rate:<who>`, and for no longer
than until that moment. Wrong keys are counted per address under `lw:wrong:<address>`.
"""

import ipaddress
import math
import time
from collections.abc import Callable
from typing import Any

from redis.asyncio import Redis

from ..errors import RateLimited
from .client import translated

DEFAULT_RATE = 50.0
"""Requests per second of a key that has no rate of its own."""

DEFAULT_BURST = 100
"""Requests at once of a key that has no burst of its own."""

WRONG_PER_MINUTE = 20
"""Wrong keys that one address may present in a minute."""

_MAX_REMEMBERED = 10_000

_TAKE = """
-- KEYS bucket. ARGV microseconds per token, burst. -> 0, or microseconds until there is a token. Server's clock.
local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
local each, all = tonumber(ARGV[1]), ARGV[1] * ARGV[2]
local full = tonumber(redis.call('GET', KEYS[1]) or '0')
full = math.min(math.max(full, now), now + all) + each
if full - now > all then return math.ceil(full - now - all) end
redis.call('SET', KEYS[1], string.format('%.0f', full), 'PX', math.ceil((full - now) / 1000))
return 0
"""

_WRONG = """
-- KEYS counter. -> wrong keys of this minute with this one, and the milliseconds that are left of it.
local count = redis.call('INCR', KEYS[1])
if count == 1 then redis.call('PEXPIRE', KEYS[1], 60000) end
return {count, redis.call('PTTL', KEYS[1])}
"""


class RateLimits:
    """Token buckets on Redis.

    Args:
        client: Redis.
        monotonic: Seconds that only grow, for refusing without asking Redis again.
    """

    def __init__(self, client: Redis, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        made: Any = client
        self._monotonic = monotonic
        self._take = made.register_script(_TAKE)
        self._wrong = made.register_script(_WRONG)
        self._empty: dict[str, float] = {}

    async def take(self, who: str, *, rate: float | None = None, burst: int | None = None) -> None:
        """Take a token for one request.

        Somebody who was refused is refused in this process, without a question to Redis, until there can be a token:
        so a storm of one key costs the others next to nothing.

        Args:
            who: Whose bucket: the id of a key.
            rate: Tokens per second; `None`: the default.
            burst: What the bucket holds; `None`: the default.

        Raises:
            RateLimited: The bucket is empty; nothing was taken.
            JournalUnavailable: Redis gave no answer.
        """
        now = self._monotonic()
        wait_s = self._empty.get(who, now) - now
        if wait_s <= 0:
            self._empty.pop(who, None)
            async with translated():
                each_us = max(1, round(1_000_000 / (rate or DEFAULT_RATE)))
                wait_us = await self._take(keys=[f"lw:rate:{who}"], args=[each_us, burst or DEFAULT_BURST])
            if not wait_us:
                return
            wait_s = wait_us / 1_000_000
            while len(self._empty) >= _MAX_REMEMBERED:
                del self._empty[next(iter(self._empty))]
            self._empty[who] = now + wait_s
        raise RateLimited("this key makes more requests than it may", math.ceil(wait_s * 1000) / 1000)

    async def wrong_key(self, address: str) -> None:
        """Count a wrong key from an address.

        Raises:
            RateLimited: The address has presented more than twenty in this minute.
            JournalUnavailable: Redis gave no answer.
        """
        async with translated():
            count, left_ms = await self._wrong(keys=[f"lw:wrong:{network_of(address)}"])
        if count > WRONG_PER_MINUTE:
            raise RateLimited("too many wrong keys from this address", max(1.0, left_ms / 1000))


def network_of(address: str) -> str:
    """Return what one client can be told by: its IPv4 address, or the /64 of its IPv6 address."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return "unknown"
    if isinstance(parsed, ipaddress.IPv4Address):
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.ip_network((int(parsed), 64), strict=False).network_address)
