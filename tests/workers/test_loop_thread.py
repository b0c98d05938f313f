"""The event loop of a worker outlives what the code that runs on it may raise."""

import asyncio
from typing import Any

import pytest
from structlog.testing import capture_logs

from loopwright import tool
from loopwright.tools.context import Context
from loopwright.tools.execute import execute
from loopwright.workers.pool import LoopThread

LONG_S = 10.0


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_a_loop_goes_on_when_somebody_wants_to_end_the_process(error: type[BaseException]) -> None:
    async def end() -> None:
        raise error

    async def live() -> str:
        await asyncio.sleep(0.01)
        return "alive"

    thread = LoopThread().start()
    try:
        with capture_logs() as logged:
            waiting = thread.submit(asyncio.sleep(0.2, "still there"))
            with pytest.raises(error):
                thread.submit(end()).result(LONG_S)
            assert thread.submit(live()).result(LONG_S) == "alive"
            assert waiting.result(LONG_S) == "still there", "what was under way goes on as well"
        assert [each["event"] for each in logged] == ["loop_interrupted"]
    finally:
        thread.stop()
    assert thread.loop.is_closed()


@pytest.mark.parametrize("awaits", [True, False])
def test_a_tool_that_interrupts_like_a_keyboard_has_crashed_like_any_other(awaits: bool) -> None:
    @tool
    async def awaited() -> None:
        """Interrupt."""
        raise KeyboardInterrupt

    @tool
    def blocking() -> None:
        """Interrupt."""
        raise KeyboardInterrupt

    crashing: Any = awaited if awaits else blocking
    thread = LoopThread().start()
    try:
        with capture_logs() as logged:
            outcome = thread.submit(execute(crashing, {}, Context())).result(LONG_S)
        assert (outcome.error, [each["event"] for each in logged]) == ("tool_crashed", ["tool_crashed"])
    finally:
        thread.stop()
