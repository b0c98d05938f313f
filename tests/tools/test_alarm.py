"""Time limits that share one timer."""

import asyncio
import random

import pytest

from loopwright.tools.alarm import Expired, within


def test_each_wait_ends_at_its_own_time_whatever_the_order() -> None:
    """A nearer limit set later must still ring first."""

    async def limited(timeout_s: float) -> float:
        loop = asyncio.get_running_loop()
        began = loop.time()
        with pytest.raises(Expired):
            await within(timeout_s, lambda: asyncio.sleep(60))
        return loop.time() - began

    async def main() -> list[float]:
        return await asyncio.gather(*[limited(each) for each in (0.2, 0.05, 0.1, 0.05, 0.15)])

    took = asyncio.run(main())
    for limit, each in zip((0.2, 0.05, 0.1, 0.05, 0.15), took, strict=True):
        assert limit - 0.001 <= each < limit + 0.15


def test_what_finishes_in_time_is_never_cancelled() -> None:
    async def work(seed: int) -> int:
        await asyncio.sleep(random.Random(seed).random() * 0.01)
        return seed

    async def main() -> list[int]:
        return await asyncio.gather(*[within(5, lambda seed=seed: work(seed)) for seed in range(500)])

    assert asyncio.run(main()) == list(range(500))


def test_limits_nest() -> None:
    async def inner() -> None:
        with pytest.raises(Expired):
            await within(0.01, lambda: asyncio.sleep(60))
        await asyncio.sleep(60)

    async def main() -> None:
        with pytest.raises(Expired):
            await within(0.05, inner)
        task = asyncio.current_task()
        assert task is not None and task.cancelling() == 0

    asyncio.run(main())


def test_a_cancellation_from_outside_is_not_taken_for_the_alarm() -> None:
    async def main() -> None:
        task = asyncio.create_task(within(0.01, lambda: asyncio.sleep(60)))
        await asyncio.sleep(0)
        await asyncio.sleep(0.009)
        task.cancel()
        with pytest.raises((asyncio.CancelledError, Expired)):
            await task

    for _ in range(20):
        asyncio.run(main())


def test_every_event_loop_has_limits_of_its_own() -> None:
    async def main() -> None:
        with pytest.raises(Expired):
            await within(0.01, lambda: asyncio.sleep(60))

    for _ in range(3):
        asyncio.run(main())
