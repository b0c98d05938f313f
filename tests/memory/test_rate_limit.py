"""How many requests a key may make, and how many wrong keys an address may present."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from loopwright.errors import JournalUnavailable, RateLimited
from loopwright.memory.client import make_client
from loopwright.memory.rate_limit import DEFAULT_BURST, WRONG_PER_MINUTE, RateLimits, network_of

from ..servers import RedisServer
from .support import calls, in_loop


@pytest.fixture
def empty(one_server: RedisServer) -> RedisServer:
    one_server.command("FLUSHALL")
    return one_server


@asynccontextmanager
async def opened(server: RedisServer) -> AsyncIterator[RateLimits]:
    client = make_client(server.url)
    try:
        yield RateLimits(client)
    finally:
        await client.aclose()


async def taken(
    limits: RateLimits, who: str, times: int, *, rate: float | None = None, burst: int | None = None
) -> int:
    count = 0
    for _ in range(times):
        try:
            await limits.take(who, rate=rate, burst=burst)
            count += 1
        except RateLimited:
            pass
    return count


@in_loop
async def test_a_bucket_gives_its_burst_and_then_says_when_to_come_back(empty: RedisServer) -> None:
    async with opened(empty) as limits:
        assert await taken(limits, "k", 10, rate=0.01, burst=3) == 3
        with pytest.raises(RateLimited) as refused:
            await limits.take("k", rate=0.01, burst=3)
    assert 95 <= refused.value.retry_after_s <= 100


@in_loop
async def test_all_processes_take_from_the_same_bucket(empty: RedisServer) -> None:
    async with opened(empty) as one, opened(empty) as two:
        counts = await asyncio.gather(
            *(taken(each, "k", 10, rate=0.01, burst=8) for each in (one, two)), return_exceptions=False
        )
    assert sum(counts) == 8


@in_loop
async def test_a_bucket_fills_again_at_its_rate(empty: RedisServer) -> None:
    async with opened(empty) as limits:
        assert await taken(limits, "k", 5, rate=20, burst=1) == 1
        with pytest.raises(RateLimited) as refused:
            await limits.take("k", rate=20, burst=1)
        await asyncio.sleep(refused.value.retry_after_s + 0.01)
        await limits.take("k", rate=20, burst=1)


@in_loop
async def test_the_default_is_a_burst_of_a_hundred(empty: RedisServer) -> None:
    async with opened(empty) as limits:
        assert await taken(limits, "k", DEFAULT_BURST, rate=0.01) == DEFAULT_BURST == 100
        with pytest.raises(RateLimited):
            await limits.take("k", rate=0.01)


@in_loop
async def test_a_storm_of_one_key_neither_costs_others_their_tokens_nor_asks_redis(empty: RedisServer) -> None:
    """T25: what is refused is refused in the process, so quiet keys find Redis idle."""
    async with opened(empty) as limits:
        await taken(limits, "noisy", 2, rate=0.01, burst=1)
        before = calls(empty, "evalsha")
        assert await taken(limits, "noisy", 1000, rate=0.01, burst=1) == 0
        assert calls(empty, "evalsha") == before
        assert await taken(limits, "quiet", 5, rate=1, burst=5) == 5


@in_loop
async def test_a_full_bucket_leaves_nothing_in_redis(empty: RedisServer) -> None:
    async with opened(empty) as limits:
        await limits.take("k", rate=1000, burst=5)
        ttl_ms = int(empty.command("PTTL", "lw:rate:k").decode().strip()[1:])
    assert ttl_ms <= 1


@in_loop
async def test_a_clock_of_redis_that_was_ahead_does_not_lock_a_key_out(empty: RedisServer) -> None:
    async with opened(empty) as limits:
        empty.command("SET", "lw:rate:k", "9000000000000000")
        with pytest.raises(RateLimited) as refused:
            await limits.take("k", rate=10, burst=5)
    assert refused.value.retry_after_s <= 0.11


@in_loop
async def test_twenty_wrong_keys_a_minute_and_address_are_heard(empty: RedisServer) -> None:
    async with opened(empty) as limits, opened(empty) as elsewhere:
        for index in range(WRONG_PER_MINUTE):
            await (limits if index % 2 else elsewhere).wrong_key("203.0.113.9")
        with pytest.raises(RateLimited) as refused:
            await limits.wrong_key("203.0.113.9")
        await limits.wrong_key("203.0.113.10")
    assert 50 <= refused.value.retry_after_s <= 60


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", True),
        ("2001:db8:1:2::1", "2001:db8:1:3::1", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("", "no address\r\n", True),
    ],
)
def test_clients_are_told_apart_by_network(one: str, other: str, same: bool) -> None:
    assert (network_of(one) == network_of(other)) is same


@in_loop
async def test_limits_say_that_redis_is_away(free_port: int) -> None:
    client = make_client(f"redis://127.0.0.1:{free_port}", timeout_s=0.5)
    limits = RateLimits(client)
    with pytest.raises(JournalUnavailable):
        await limits.take("k")
    with pytest.raises(JournalUnavailable):
        await limits.wrong_key("192.0.2.1")
    await client.aclose()
