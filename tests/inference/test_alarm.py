"""The alarm behaves like `asyncio.timeout`, with one timer for many waits."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from loopwright.inference.alarm import Alarm


def run(main: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(asyncio.wait_for(main, 20))


async def guarded(alarm: Alarm, wait: Coroutine[Any, Any, Any], seconds: float) -> str:
    """Wait under the alarm; tell whether it rang."""
    alarm.start(asyncio.get_running_loop().time() + seconds)
    try:
        await wait
    except asyncio.CancelledError:
        if alarm.has_rung():
            return "rang"
        raise
    finally:
        alarm.stop()
    return "in time"


def test_a_wait_that_is_too_long_rings_and_leaves_the_task_uncancelled() -> None:
    async def main() -> None:
        alarm = Alarm()
        assert await guarded(alarm, asyncio.sleep(60), 0.02) == "rang"
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0
        assert await guarded(alarm, asyncio.sleep(0), 5) == "in time"

    run(main())


def test_many_waits_in_time_share_one_timer_and_the_late_one_rings() -> None:
    async def main() -> None:
        alarm = Alarm()
        for _ in range(20):
            assert await guarded(alarm, asyncio.sleep(0.01), 5) == "in time"
        assert await guarded(alarm, asyncio.sleep(60), 0.02) == "rang"

    run(main())


def test_a_timer_that_fires_between_two_waits_does_no_harm() -> None:
    async def main() -> None:
        alarm = Alarm()
        assert await guarded(alarm, asyncio.sleep(0), 0.02) == "in time"
        await asyncio.sleep(0.05)
        assert await guarded(alarm, asyncio.sleep(60), 0.02) == "rang"

    run(main())


def test_an_early_timer_is_set_anew_for_the_later_instant() -> None:
    async def main() -> None:
        alarm = Alarm()
        assert await guarded(alarm, asyncio.sleep(0), 0.02) == "in time"
        assert await guarded(alarm, asyncio.sleep(0.1), 5) == "in time"

    run(main())


def test_a_cancellation_from_outside_is_raised_as_such() -> None:
    async def main() -> None:
        task = asyncio.create_task(guarded(Alarm(), asyncio.sleep(60), 30))
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(main())


def test_a_closed_alarm_never_rings() -> None:
    async def main() -> None:
        alarm = Alarm()
        alarm.start(asyncio.get_running_loop().time() + 0.01)
        alarm.close()
        await asyncio.sleep(0.03)

    run(main())
