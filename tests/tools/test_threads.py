"""Daemon threads for blocking tools."""

import asyncio
import subprocess
import sys
import threading
import time

import pytest

from loopwright.tools import Context, execute, tool
from loopwright.tools.threads import ThreadPool


def test_no_more_calls_run_at_once_than_there_are_threads() -> None:
    running: list[int] = [0, 0]
    lock = threading.Lock()

    def work() -> None:
        with lock:
            running[0] += 1
            running[1] = max(running)
        time.sleep(0.005)
        with lock:
            running[0] -= 1

    async def main() -> None:
        pool = ThreadPool(most=3)
        await asyncio.gather(*[pool.submit(work).result() for _ in range(20)])

    asyncio.run(main())
    assert running == [0, 3]


def test_threads_are_used_again() -> None:
    async def main() -> set[int]:
        pool = ThreadPool(most=8)
        return {await pool.submit(threading.get_ident).result() for _ in range(20)}

    assert len(asyncio.run(main())) <= 2


def test_a_hung_call_does_not_take_a_thread_from_the_others() -> None:
    release = threading.Event()

    async def main() -> str:
        pool = ThreadPool(most=1)
        hung = pool.submit(release.wait)
        waiting = pool.submit(lambda: "here")
        await asyncio.sleep(0.02)
        assert not waiting.is_started
        assert pool.abandon(hung) is True
        result = await asyncio.wait_for(waiting.result(), 5)
        release.set()
        await asyncio.sleep(0.02)
        return str(await pool.submit(lambda: result).result())

    assert asyncio.run(main()) == "here"


def test_a_job_that_was_given_up_before_it_started_never_starts() -> None:
    release = threading.Event()
    started: list[int] = []

    async def main() -> None:
        pool = ThreadPool(most=1)
        first = pool.submit(release.wait)
        second = pool.submit(lambda: started.append(1))
        assert pool.abandon(second) is False
        release.set()
        await first.result()
        await pool.submit(lambda: None).result()

    asyncio.run(main())
    assert started == []


def test_hanging_calls_are_bounded_and_a_call_that_finds_no_thread_was_never_sent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With all threads hung, a call fails as not sent: its outcome is not in doubt."""
    release = threading.Event()
    small = ThreadPool(most=1)
    monkeypatch.setattr("loopwright.tools.threads._pools", [small])

    @tool(timeout_s=0.03)
    def hang() -> None:
        """Hang."""
        release.wait()

    async def main() -> list[tuple[str | None, bool]]:
        return [(done.error, done.unknown) for done in [await execute(hang, {}, Context()) for _ in range(3)]]

    assert asyncio.run(main()) == [("tool_timed_out", True), ("tool_timed_out", True), ("tool_crashed", False)]
    release.set()


def test_a_hung_thread_does_not_hold_up_the_end_of_the_process() -> None:
    code = (
        "import asyncio, time\n"
        "from loopwright.tools import Context, execute, tool\n"
        "def hang() -> None:\n    'Hang.'\n    time.sleep(60)\n"
        "print(asyncio.run(execute(tool(hang, timeout_s=0.05), {}, Context())).error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30)
    assert done.stdout.strip() == "tool_timed_out"
    assert done.stderr == ""


def test_context_variables_reach_the_thread() -> None:
    import contextvars

    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="none")

    async def main() -> str:
        variable.set("request-7")
        return str(await ThreadPool().submit(variable.get).result())

    assert asyncio.run(main()) == "request-7"
