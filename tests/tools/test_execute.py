"""One call of a tool, however it goes."""

import asyncio
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
import structlog
from pydantic import BaseModel, SecretStr
from structlog.testing import capture_logs

from loopwright.errors import REGISTRY, Fenced, ToolError
from loopwright.planner.events import Tokens
from loopwright.tools import Context, Outcome, Reconciled, Tool, execute, reconcile, tool


@pytest.fixture(autouse=True)
def fresh_log() -> Iterator[None]:
    structlog.reset_defaults()
    yield


def run(made: Tool, context: Context[Any] | None = None, **arguments: Any) -> Outcome:
    return asyncio.run(execute(made, arguments, context or Context()))


def returning(value: Any, **options: Any) -> Tool:
    async def give() -> Any:
        """Give."""
        return value() if isinstance(value, Callable) else value  # type: ignore[arg-type]

    return tool(give, **options)


def raising(error: BaseException, **options: Any) -> Tool:
    async def fail() -> None:
        """Fail."""
        raise error

    return tool(fail, **options)


# --- results -------------------------------------------------------------------------------------------------


class Quote(BaseModel):
    rate: Decimal
    on: date
    key: SecretStr = SecretStr("sesame")


@dataclass
class Point:
    x: int
    y: float


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("as it is", "as it is"),
        ("", ""),
        (None, "done"),
        (3, "3"),
        (True, "true"),
        (float("nan"), "NaN"),
        ([float("inf"), 1], '["Infinity",1]'),
        (date(2026, 11, 22), "2026-11-22"),
        (Decimal("1.50"), "1.50"),
        ({"a": [1, None]}, '{"a":[1,null]}'),
        (Point(1, 2.5), '{"x":1,"y":2.5}'),
        (Quote(rate=Decimal("1.08"), on=date(2026, 1, 1)), '{"rate":"1.08","on":"2026-01-01","key":"**********"}'),
        (b"bytes of text", "bytes of text"),
        ("half a \ud83d pair", "half a ? pair"),
    ],
)
def test_a_result_reads_like_this(value: Any, text: str) -> None:
    outcome = run(returning(value))
    assert (outcome.text, outcome.error, outcome.size) == (text, None, len(text))


def cyclic() -> Any:
    value: list[Any] = []
    value.append(value)
    return value


@pytest.mark.parametrize(
    "value",
    [
        object,
        cyclic,
        lambda: (n for n in range(3)),
        lambda: iter([1]),
        lambda: b"\xff\xfe",
        lambda: {"a": object()},
        lambda: asyncio.sleep(1),
    ],
    ids=["object", "cyclic", "generator", "iterator", "bytes", "nested object", "coroutine"],
)
def test_a_result_that_is_not_json_is_an_error_for_the_model(value: Any) -> None:
    outcome = run(returning(value))
    assert outcome.error == "result_invalid"
    assert "tool 'give' returned an unusable result: " in outcome.text
    assert " at 0x" not in outcome.text


@pytest.mark.parametrize("value", ["x" * 50_000_000, ["x" * 1000] * 50_000, b"x" * 50_000_000, "ü" * 5_000_000])
def test_a_result_of_fifty_megabytes_is_refused(value: Any) -> None:
    outcome = run(returning(value))
    assert outcome.error == "result_invalid"
    assert "at most 8,388,608 are accepted" in outcome.text
    assert outcome.size < 200


# --- failures ------------------------------------------------------------------------------------------------


def test_a_tool_error_reaches_the_model_in_its_own_words() -> None:
    outcome = run(raising(ToolError("no such city: Atlantis")))
    assert (outcome.error, outcome.text) == ("tool_error", "no such city: Atlantis")
    assert not outcome.unknown


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ToolError("x" * 50_000_000), "x" * 16_384),
        (ToolError("half a \ud83d pair"), "half a ? pair"),
    ],
    ids=["fifty megabytes", "not encodable"],
)
def test_an_error_of_any_make_becomes_words_that_can_be_stored(error: ToolError, text: str) -> None:
    assert run(raising(error)).text == text


def test_an_error_whose_own_template_fails_is_named() -> None:
    class Misprinted(ToolError):
        template = "{nothing_of_that_name}"

    del REGISTRY["Misprinted"]
    assert run(raising(Misprinted("lost"))).text == "misprinted (KeyError)"


def test_the_log_of_a_crash_is_bounded() -> None:
    with capture_logs() as logged:
        run(raising(ValueError("x" * 50_000_000)))
    assert len(logged[0]["traceback"]) < 20_000


def test_of_any_other_exception_the_model_sees_the_kind_and_the_log_the_rest() -> None:
    with capture_logs() as logged:
        outcome = run(raising(KeyError("password=hunter2")), Context(run_id="r1", tenant="acme"))
    assert (outcome.error, outcome.text) == ("tool_crashed", "tool 'fail' failed (KeyError)")
    assert (logged[0]["event"], logged[0]["run_id"], logged[0]["tenant"]) == ("tool_crashed", "r1", "acme")
    assert "hunter2" in logged[0]["traceback"]


@pytest.mark.parametrize("error", [SystemExit(3), StopAsyncIteration(), asyncio.CancelledError(), TimeoutError()])
def test_no_exception_of_a_tool_ends_the_process_or_passes_for_a_cancellation(error: BaseException) -> None:
    outcome = run(raising(error))
    assert outcome.error == "tool_crashed"
    assert type(error).__name__ in outcome.text or isinstance(error, StopAsyncIteration)


def test_the_same_holds_in_a_thread() -> None:
    @tool
    def leave() -> None:
        """Leave."""
        raise SystemExit(1)

    @tool
    def stop() -> None:
        """Stop."""
        raise StopIteration

    assert run(leave).text == "tool 'leave' failed (SystemExit)"
    assert run(stop).error == "tool_crashed"


def test_an_error_for_the_operator_passes_through() -> None:
    """A lost lease inside a child run concerns the run: it must not become an observation."""
    with pytest.raises(Fenced):
        run(raising(Fenced(run_id="r", epoch=2)))


# --- time ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("effect", "unknown"), [("read", False), ("keyed", True), ("once", True)])
def test_a_tool_that_hangs_is_cut_off_and_its_effect_is_unknown(effect: Any, unknown: bool) -> None:
    @tool(effect=effect, timeout_s=0.02)
    async def hang() -> None:
        """Hang."""
        await asyncio.sleep(60)

    outcome = run(hang)
    assert (outcome.error, outcome.unknown) == ("tool_timed_out", unknown)
    assert outcome.text == "tool 'hang' did not finish within 0.02 s"
    assert 15 <= outcome.latency_ms < 5000


def test_a_hung_thread_blocks_neither_the_loop_nor_the_next_call() -> None:
    @tool(timeout_s=0.05)
    def hang() -> None:
        """Hang."""
        time.sleep(0.5)

    async def several() -> tuple[list[Outcome], int]:
        ticks = 0

        async def tick() -> None:
            nonlocal ticks
            while True:
                await asyncio.sleep(0.005)
                ticks += 1

        ticking = asyncio.create_task(tick())
        outcomes = await asyncio.gather(*[execute(hang, {}, Context()) for _ in range(5)])
        ticking.cancel()
        return outcomes, ticks

    began = time.monotonic()
    outcomes, ticks = asyncio.run(several())
    assert {each.error for each in outcomes} == {"tool_timed_out"}
    assert all(each.unknown for each in outcomes)
    assert ticks >= 3
    assert time.monotonic() - began < 0.45


def test_a_tool_gets_no_more_time_than_its_run_has_left() -> None:
    @tool(timeout_s=60)
    async def hang() -> None:
        """Hang."""
        await asyncio.sleep(60)

    outcome = run(hang, Context(deadline=time.monotonic() + 0.03))
    assert outcome.error == "tool_timed_out"


def test_a_call_without_any_time_left_is_not_sent() -> None:
    sent = []

    @tool
    async def send() -> None:
        """Send."""
        sent.append(1)

    outcome = run(send, Context(deadline=time.monotonic() - 1))
    assert (outcome.error, outcome.unknown, sent) == ("tool_crashed", False, [])
    assert "no time left in the run" in outcome.text


def test_a_tool_that_swallows_its_time_out_keeps_its_result_and_the_run_goes_on() -> None:
    @tool(timeout_s=0.02)
    async def stubborn() -> str:
        """Be stubborn."""
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            return "late"
        return "never"

    async def twice() -> list[str]:
        first = await execute(stubborn, {}, Context())
        await asyncio.sleep(0)  # would raise if the cancellation were still pending
        task = asyncio.current_task()
        assert task is not None and task.cancelling() == 0
        return [first.text]

    assert asyncio.run(twice()) == ["late"]


def test_cancellation_from_outside_passes_through() -> None:
    seen = []

    @tool
    async def wait() -> None:
        """Wait."""
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            seen.append("cleaned up")
            raise

    async def cancel() -> None:
        task = asyncio.create_task(execute(wait, {}, Context()))
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancel())
    assert seen == ["cleaned up"]


def test_cancellation_passes_through_a_thread_too() -> None:
    @tool
    def wait() -> None:
        """Wait."""
        time.sleep(0.2)

    async def cancel() -> None:
        task = asyncio.create_task(execute(wait, {}, Context()))
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    began = time.monotonic()
    asyncio.run(cancel())
    assert time.monotonic() - began < 0.18


# --- retries -------------------------------------------------------------------------------------------------


def flaky(failures: list[BaseException], **options: Any) -> tuple[Tool, list[int]]:
    attempts: list[int] = []

    async def fetch(context: Context) -> str:
        """Fetch."""
        attempts.append(context.attempt)
        if failures:
            raise failures.pop(0)
        return context.key

    return tool(fetch, backoff_s=0.001, **options), attempts


def test_a_failure_is_tried_again_with_the_same_key() -> None:
    made, attempts = flaky([ConnectionError(), OSError()], effect="keyed", retries=2)
    outcome = run(made, Context(run_id="r1", call_id="2.1"))
    assert (outcome.text, outcome.error, outcome.attempts) == ("r1/2.1", None, 3)
    assert attempts == [1, 2, 3]


def test_retries_end() -> None:
    made, attempts = flaky([ConnectionError() for _ in range(9)], effect="read", retries=2)
    outcome = run(made)
    assert (outcome.text, outcome.attempts) == ("tool 'fetch' failed (ConnectionError)", 3)
    assert attempts == [1, 2, 3]


@pytest.mark.parametrize("error", [ToolError("no such thing"), TypeError("a bug"), NotImplementedError()])
def test_what_cannot_pass_is_not_tried_again(error: Exception) -> None:
    made, attempts = flaky([error], effect="read", retries=5)
    assert run(made).error is not None
    assert attempts == [1]


def test_a_time_out_is_tried_again() -> None:
    slow = [0.5]

    @tool(effect="read", retries=1, timeout_s=0.03, backoff_s=0.001)
    async def fetch() -> str:
        """Fetch."""
        await asyncio.sleep(slow.pop() if slow else 0)
        return "here"

    assert (run(fetch).text, run(fetch).attempts) == ("here", 1)


def test_no_wait_outlives_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("random.uniform", lambda low, high: high)
    made, attempts = flaky([OSError(), OSError()], effect="read", retries=5)
    slow = tool(made.function, effect="read", retries=5, backoff_s=30, name="slow", description="Slow.")
    outcome = run(slow, Context(deadline=time.monotonic() + 5))
    assert (outcome.error, attempts) == ("tool_crashed", [1])


# --- context and threads -------------------------------------------------------------------------------------


def test_a_sync_tool_reports_progress_in_the_event_loop() -> None:
    said: list[tuple[str, float | None, bool]] = []

    @tool
    def work(context: Context) -> None:
        """Work."""
        context.progress("half", 0.5)

    async def main() -> None:
        loop = asyncio.get_running_loop()

        def note(text: str, fraction: float | None) -> None:
            said.append((text, fraction, asyncio.get_running_loop() is loop))

        await execute(work, {}, Context(on_progress=note))
        await asyncio.sleep(0)

    asyncio.run(main())
    assert said == [("half", 0.5, True)]


def test_tokens_spent_inside_a_call_are_reported() -> None:
    @tool
    async def think(context: Context) -> None:
        """Think."""
        context.spend(Tokens(10, 2, 5, 0.01))
        context.spend(Tokens(1, 0, 1, 0.01))

    assert run(think).usage == Tokens(11, 2, 6, 0.02)


# --- reconcile -----------------------------------------------------------------------------------------------


async def _unknown(key: str) -> Reconciled:
    await asyncio.sleep(60)
    return Reconciled("unknown")


async def _done(key: str) -> Reconciled:
    return Reconciled("done", {"key": key})


@pytest.mark.parametrize(
    ("callback", "expected"),
    [
        (None, Reconciled("unknown")),
        (lambda key: Reconciled("not_sent"), Reconciled("not_sent")),
        (_done, Reconciled("done", '{"key":"r/1.1"}')),
        (lambda key: Reconciled("done"), Reconciled("done", "done")),
        (_unknown, Reconciled("unknown")),
        (lambda key: 1 / 0, Reconciled("unknown")),
        (lambda key: "yes", Reconciled("unknown")),
        (lambda key: Reconciled("done", object()), Reconciled("unknown")),
    ],
    ids=["none", "not sent", "done", "done without result", "hangs", "raises", "no answer", "unusable result"],
)
def test_a_lost_call_is_asked_for(callback: Any, expected: Reconciled) -> None:
    made = returning("sent", effect="once", timeout_s=0.05, **({"reconcile": callback} if callback else {}))
    assert asyncio.run(reconcile(made, "r/1.1")) == expected


# --- after a fork --------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # forking with threads is the point
def test_threads_work_again_after_a_fork() -> None:
    @tool
    def number() -> int:
        """Give a number."""
        return 7

    assert run(number).text == "7"
    child = os.fork()
    if child == 0:
        os._exit(0 if run(number).text == "7" else 1)
    assert os.waitpid(child, 0)[1] == 0
