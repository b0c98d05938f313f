"""Run one call of a tool under its policy and return what the model may read of it.

execute ─► retries ─► one attempt ─► alarm ─► the function, awaited or in a thread ─► render
"""

import asyncio
import threading
import time
import traceback
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from ..errors import ForModel, ForOperator, ResultInvalid, ToolCrashed, ToolTimedOut
from .alarm import Expired, within
from .context import Context
from .result import render_result
from .threads import pool
from .tool import Reconciled, Tool, is_async

if TYPE_CHECKING:
    from tenacity import RetryCallState

    from ..planner.events import Tokens

MAX_BACKOFF_S = 30.0
"""Longest wait between two attempts."""

MAX_ERROR_CHARS = 16_384
"""Longest error shown to the model."""

MAX_TRACE_CHARS = 16_384
"""Longest traceback in the log; an exception's message may be of any size."""

NO_THREAD = "no free thread"
NO_TIME = "no time left in the run"
"""What the model reads of a call that was never started."""

_MISTAKES = (TypeError, AttributeError, NameError, ImportError, AssertionError, NotImplementedError, SyntaxError)
"""Errors of the code itself: another attempt would end the same way."""


class Outcome(NamedTuple):
    """What became of a call.

    Attributes:
        text: The full result, or the failure in words for the model.
        error: Machine-readable reason when the call failed (`tool_error`, `tool_crashed`, `tool_timed_out`,
            `result_invalid`), else `None`.
        size: Length of `text` in characters.
        attempts: How often the function was started.
        latency_ms: Wall time, waits between attempts included.
        unknown: The call was sent and nobody knows whether it took effect.
        usage: Tokens spent inside the call, or `None`.
    """

    text: str
    error: str | None = None
    size: int = 0
    attempts: int = 1
    latency_ms: int = 0
    unknown: bool = False
    usage: "Tokens | None" = None


async def execute(tool: Tool[..., Any], arguments: Mapping[str, Any], context: Context[Any]) -> Outcome:
    """Call a tool with arguments that `Tool.parse` returned, under its timeout and retries.

    Never raises because of the tool. Cancellation passes through, and so do errors for the operator, such as a lost
    lease inside a run of an agent used as a tool: they concern the run, not the call.
    """
    started = time.perf_counter()
    before = context.attempt
    error, unknown = None, False
    try:
        if tool.retries:
            text = await _with_retries(tool, arguments, context)
        else:
            text = await _attempt(tool, arguments, context)
    except ForModel as exc:
        text, error = _words(exc), exc.code
        unknown = tool.effect != "read" and _is_ambiguous(exc)
    return Outcome(
        text=text,
        error=error,
        size=len(text),
        attempts=context.attempt - before + 1,
        latency_ms=int((time.perf_counter() - started) * 1000),
        unknown=unknown,
        usage=context.spent,
    )


async def reconcile(tool: Tool[..., Any], key: str) -> Reconciled:
    """Ask the tool what became of an interrupted call; `result` of a `done` answer is text, as in `Outcome.text`.

    Never raises but for cancellation: a callback that is missing, fails or hangs answers `unknown`.
    """
    if tool.reconcile is None:
        return Reconciled("unknown")
    context: Context[Any] = Context(key=key)
    try:
        answer = await _invoke(tool, context, partial(tool.reconcile, key), is_async(tool.reconcile), tool.timeout_s)
        if not isinstance(answer, Reconciled):
            raise ResultInvalid(tool.name, "reconcile returned no Reconciled(...)")
        if answer.state == "done":
            return Reconciled("done", render_result(tool.name, answer.result))
        return Reconciled(answer.state)
    except ForModel as exc:
        context.log.warning("reconcile_failed", tool=tool.name, key=key, problem=str(exc))
        return Reconciled("unknown")


async def _with_retries(tool: Tool[..., Any], arguments: Mapping[str, Any], context: Context[Any]) -> str:
    from tenacity import AsyncRetrying, retry_if_exception, wait_random_exponential

    def is_enough(state: "RetryCallState") -> bool:
        left = context.seconds_left
        return state.attempt_number > tool.retries or (left is not None and state.upcoming_sleep >= left)

    retrying = AsyncRetrying(
        stop=is_enough,
        wait=wait_random_exponential(multiplier=tool.backoff_s, max=MAX_BACKOFF_S),
        retry=retry_if_exception(_may_pass),
        reraise=True,
    )
    first = context.attempt
    async for attempt in retrying:
        with attempt:
            context.attempt = first + attempt.retry_state.attempt_number - 1
            text = await _attempt(tool, arguments, context)
    return text


def _is_ambiguous(error: ForModel) -> bool:
    """Return whether the function was started and nobody can say how far it came.

    A connection that breaks while the answer is awaited looks like any other exception, so every exception that is not
    the tool's own `ToolError` counts.
    """
    return isinstance(error, ToolTimedOut) or (
        isinstance(error, ToolCrashed) and error.kind not in (NO_TIME, NO_THREAD)
    )


def _may_pass(error: BaseException) -> bool:
    """Return whether another attempt may succeed."""
    return isinstance(error, ToolTimedOut | ToolCrashed) and not isinstance(error.__cause__, _MISTAKES)


async def _attempt(tool: Tool[..., Any], arguments: Mapping[str, Any], context: Context[Any]) -> str:
    """Call the function once and return its result as text, or raise an error for the model."""
    name = tool.context_parameter
    given = arguments if name is None else {**arguments, name: context}
    left = context.seconds_left
    if left is None or left > tool.timeout_s:
        left = tool.timeout_s
    elif left <= 0:
        raise ToolCrashed(tool.name, NO_TIME)
    value = await _invoke(tool, context, partial(tool.function, **given), tool.is_async, left)
    return render_result(tool.name, value)


async def _invoke(
    tool: Tool[..., Any], context: Context[Any], call: Callable[[], Any], awaits: bool, timeout_s: float
) -> Any:
    """Make a call, in the event loop when it awaits, else in a thread."""
    if awaits:
        return await _guarded(tool, context, call, timeout_s)
    context.loop = asyncio.get_running_loop()
    job = pool().submit(call)
    try:
        return await _guarded(tool, context, job.result, timeout_s)
    except (ToolTimedOut, asyncio.CancelledError) as exc:
        if not pool().abandon(job) and isinstance(exc, ToolTimedOut):
            raise ToolCrashed(tool.name, NO_THREAD) from None
        raise


async def _guarded(
    tool: Tool[..., Any], context: Context[Any], call: Callable[[], Awaitable[Any]], timeout_s: float
) -> Any:
    """Await a tool's function for a limited time; whatever it raises becomes an error for the model."""
    try:
        return await within(timeout_s, call)
    except Expired:
        raise ToolTimedOut(tool.name, timeout_s) from None
    except (ForModel, ForOperator):
        raise
    except asyncio.CancelledError as exc:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        raise _crash(tool, context, exc) from exc  # nobody cancelled this call: something inside it was cancelled
    except (Exception, SystemExit) as exc:
        raise _crash(tool, context, exc) from exc
    except KeyboardInterrupt as exc:
        if threading.current_thread() is threading.main_thread():
            raise  # it may be the user's Ctrl-C
        raise _crash(tool, context, exc) from exc


def _words(error: ForModel) -> str:
    """Return an error as text that can be stored, also when its author's message cannot."""
    try:
        text = str(error)[:MAX_ERROR_CHARS]
    except Exception as exc:  # a subclass whose own template fails
        return f"{error.code} ({type(exc).__name__})"
    return text if text.isascii() else text.encode(errors="replace").decode()


def _crash(tool: Tool[..., Any], context: Context[Any], error: BaseException) -> ToolCrashed:
    """Log a failure in full, without the values of variables; the model gets its kind only."""
    trace = "".join(traceback.format_exception(error))
    if len(trace) > MAX_TRACE_CHARS:
        trace = f"{trace[: MAX_TRACE_CHARS // 2]}\n...\n{trace[-MAX_TRACE_CHARS // 2 :]}"
    kind = type(error).__name__
    context.log.warning("tool_crashed", tool=tool.name, kind=kind, attempt=context.attempt, traceback=trace)
    return ToolCrashed(tool.name, kind)
