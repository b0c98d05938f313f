"""Flows about runs: submit, wait, look, cancel, fork, export, batches."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, TypedDict, Unpack
from urllib.parse import quote

from pydantic import AnyUrl, JsonValue

from ..api.models import (
    BatchAnswer,
    BatchItem,
    Page,
    Run,
    RunEvent,
    RunExport,
    RunLimits,
    RunRequest,
    RunSummary,
)
from ..errors import WaitTimedOut
from ..planner.events import FINAL, PEOPLE, Overlap, Priority, Status
from .call import Call, Flow, Pause, encode, new_key
from .pages import Listing

LONG_WAIT_S = 30
"""Most seconds for which the server is asked to hold an answer back; a run is waited for in several such calls."""

CHUNK_RUNS = 1000
CHUNK_BYTES = 900_000
"""Most tasks and bytes of one batch request; the server takes 1,000 and 1 MiB."""

SHORT_POLL_S = (0.05, 2.0)
"""First and longest pause between two looks at a run, where the server does not hold its answer back."""

Progress = Callable[[int, int], None]
"""Told how many are done, and of how many."""


class RunOptions(TypedDict, total=False):
    """What a task may say besides its agent and itself; see `loopwright.api.models.RunRequest`."""

    thread_id: str | None
    overlap: Overlap
    limits: RunLimits | Mapping[str, float | None] | None
    model: str | None
    priority: Priority
    metadata: Mapping[str, JsonValue]
    webhook: AnyUrl | str | None
    after: datetime | None


class ForkOptions(TypedDict, total=False):
    """What a fork may change; see `loopwright.api.models.ForkRequest`."""

    task: JsonValue
    model: str | None
    limits: RunLimits | Mapping[str, float | None] | None
    metadata: Mapping[str, JsonValue]


def submit(
    agent: str, task: JsonValue, *, idempotency_key: str | None = None, **options: Unpack[RunOptions]
) -> Call[Run]:
    """Submit a task and return its run at once, usually still queued.

    Args:
        agent: Name of an agent that the server knows.
        task: Text, or any JSON value.
        idempotency_key: Makes a call that is repeated, also by another process within 24 h, return the first run.
            Left out, every call has its own, so that a retry after a lost answer makes no second run.
        **options: See `RunOptions`.

    Raises:
        AgentNotFound: The server has no such agent.
        TaskInvalid: The task is empty, too large or no JSON.
        IdempotencyConflict: The key was used for another task.
        ThreadBusy: Another run has the thread, and `overlap` is `reject`.
        ApiUnavailable: No answer for as long as the client is patient. Retry with the same key is safe.
    """
    return _submission(agent, task, idempotency_key or new_key(), options)


def run(
    agent: str,
    task: JsonValue,
    *,
    timeout_s: float | None = None,
    idempotency_key: str | None = None,
    **options: Unpack[RunOptions],
) -> Flow[Run]:
    """Submit a task and wait until its run has ended, or waits for a person.

    Args:
        agent: As for `submit`.
        task: As for `submit`.
        timeout_s: As for `wait`.
        idempotency_key: As for `submit`.
        **options: As for `submit`.

    Raises:
        WaitTimedOut: The run goes on; `wait` with its id goes on waiting.
    """
    began = time.monotonic()
    wait_s = LONG_WAIT_S if timeout_s is None else int(min(LONG_WAIT_S, timeout_s))
    run: Run = yield _submission(agent, task, idempotency_key or new_key(), options, wait_s)
    if is_settled(run):
        return run
    left = None if timeout_s is None else max(0.0, timeout_s - (time.monotonic() - began))
    return (yield from wait(run.id, timeout_s=left))


def wait(run_id: str, *, timeout_s: float | None = None) -> Flow[Run]:
    """Return a run once it has ended, or waits for a person (status `waiting`, reason `approval` or `in_doubt`).

    The server may be restarted meanwhile.

    Args:
        run_id: The run.
        timeout_s: Longest wait in seconds; `None`: for as long as it takes.

    Raises:
        WaitTimedOut: The run goes on.
        RunNotFound: There is no such run.
        ApiUnavailable: The server was away for longer than the client is patient, or than there was time.
    """
    end = None if timeout_s is None else time.monotonic() + timeout_s
    pause, longest = SHORT_POLL_S
    while True:
        began = time.monotonic()
        asked_s = LONG_WAIT_S if end is None else int(max(0.0, min(LONG_WAIT_S, end - began)))
        run: Run = yield _look(run_id, asked_s, None if end is None else end - began)
        now = time.monotonic()
        if is_settled(run):
            return run
        if end is not None and now >= end:
            raise WaitTimedOut(run_id=run_id, run_status=run.status, timeout_s=timeout_s or 0.0)
        if now - began < asked_s / 2 or asked_s == 0:  # held back for less than was asked
            yield Pause(pause if end is None else min(pause, max(0.0, end - now)))
            pause = min(longest, pause * 1.5)


def wait_all(
    run_ids: Sequence[str], *, timeout_s: float | None = None, progress: Progress | None = None
) -> Flow[list[Run]]:
    """Wait for many runs, as `wait` does for one; returns them in the same order.

    Args:
        run_ids: The runs.
        timeout_s: Longest wait for all of them together.
        progress: Told after each run how many have settled.

    Raises:
        WaitTimedOut: One of them goes on.
    """
    end = None if timeout_s is None else time.monotonic() + timeout_s
    settled: list[Run] = []
    for run_id in run_ids:
        left = None if end is None else max(0.0, end - time.monotonic())
        settled.append((yield from wait(run_id, timeout_s=left)))
        if progress is not None:
            progress(len(settled), len(run_ids))
    return settled


def get(run_id: str) -> Call[Run]:
    """Return a run as it stands. Raises RunNotFound."""
    return _look(run_id)


def cancel(run_id: str, *, reason: str = "requested") -> Call[Run]:
    """Ask a run to stop; it ends `cancelled` as soon as its worker has heard of it. Raises RunNotFound."""
    return Call("POST", f"{_path(run_id)}/cancel", Run.model_validate_json, body={"reason": reason})


def fork(
    run_id: str, *, step: int = 0, idempotency_key: str | None = None, **options: Unpack[ForkOptions]
) -> Call[Run]:
    """Start a new run that takes over the first steps of another, with their observations.

    Args:
        run_id: The run to fork; it is not changed.
        step: How many steps are taken over; 0: none.
        idempotency_key: As for `submit`.
        **options: Another task, model, limits or metadata.

    Raises:
        RunNotFound: There is no such run.
    """
    body = {"step": step, **options}
    key = idempotency_key or new_key()
    return Call("POST", f"{_path(run_id)}/fork", Run.model_validate_json, body=body, key=key)


def export(run_id: str) -> Call[RunExport]:
    """Return everything about a run: definition, prompt, events, artifacts. Raises RunNotFound."""
    return Call("GET", f"{_path(run_id)}/export", RunExport.model_validate_json)


def batch(
    tasks: Iterable[RunRequest | Mapping[str, Any]],
    *,
    idempotency_key: str | None = None,
    progress: Progress | None = None,
) -> Flow[list[BatchItem]]:
    """Submit many tasks; each is accepted or refused by itself.

    Args:
        tasks: Each with at least `agent` and `task`.
        idempotency_key: With a key of your own the whole call may be repeated, also after a crash: the same tasks in
            the same order make no second runs.
        progress: Told after each request how many tasks were answered.

    Returns:
        For each task, in order, its run's id or the problem with it.
    """
    key = idempotency_key or new_key()
    listed = list(tasks)
    answered: list[BatchItem] = []
    for number, chunk in enumerate(_chunks(listed)):
        answer: BatchAnswer = yield Call(
            "POST", "/v1/runs/batch", BatchAnswer.model_validate_json, body={"runs": chunk}, key=f"{key}-{number}"
        )
        first = len(answered)
        answered += [item.model_copy(update={"index": first + item.index}) for item in answer.items]
        if progress is not None:
            progress(len(answered), len(listed))
    return answered


def listed(*, status: Status | None = None, agent: str | None = None, page: int = 100) -> Listing[RunSummary]:
    """Yield runs, newest first, page after page.

    Args:
        status: Only runs of this status.
        agent: Only runs of this agent.
        page: How many are asked for at a time.
    """
    query = {"status": status, "agent": agent, "limit": page}
    return Listing("/v1/runs", Page[RunSummary].model_validate_json, query)


def journal(run_id: str, *, after: str = "", page: int = 500) -> Listing[RunEvent]:
    """Yield the events that a run has so far, without waiting for more; `events` waits.

    Args:
        run_id: The run.
        after: Id of the event behind which to begin; empty: at the first.
        page: How many are asked for at a time.
    """
    query = {"after": after or None, "limit": page}
    return Listing(f"{_path(run_id)}/events", Page[RunEvent].model_validate_json, query, cursor="after")


def is_settled(run: Run) -> bool:
    """Return whether nothing happens to a run by itself: it has ended, or waits for a person who has not answered."""
    if run.status != "waiting" or run.reason not in PEOPLE:
        return run.status in FINAL
    return run.waiting is None or bool(run.waiting.calls)


def _submission(agent: str, task: JsonValue, key: str, options: RunOptions, wait_s: int = 0) -> Call[Run]:
    body = {"agent": agent, "task": task, **options}
    return Call("POST", "/v1/runs", Run.model_validate_json, body=body, key=key, wait_s=wait_s)


def _look(run_id: str, wait_s: int = 0, patience_s: float | None = None) -> Call[Run]:
    return Call("GET", _path(run_id), Run.model_validate_json, wait_s=wait_s, patience_s=patience_s)


def _path(run_id: str) -> str:
    return f"/v1/runs/{quote(run_id, safe='')}"


def _chunks(tasks: Iterable[Any]) -> Iterable[list[Any]]:
    """Yield tasks in groups that one request may carry. The same tasks always make the same groups."""
    chunk: list[Any] = []
    size = 0
    for task in tasks:
        length = len(encode(task)) + 1
        if chunk and (len(chunk) == CHUNK_RUNS or size + length > CHUNK_BYTES):
            yield chunk
            chunk, size = [], 0
        chunk.append(task)
        size += length
    if chunk:
        yield chunk
