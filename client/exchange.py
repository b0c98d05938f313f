"""Carry one call out: send it, and send it again after a lost answer, an overload or a restart, within a patience."""

import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any, TypeVar

from ..errors import ApiFailed
from .call import Call, Lost, Pause, Reply
from .trouble import Patience, error_of, may_help, retry_after_s

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Send:
    """Send a request once; the outcome is a `Reply` or `Lost`."""

    call: Call[Any]


def exchange(
    call: Call[T], patience: Patience, now: Callable[[], float] = time.monotonic
) -> Generator[Send | Pause, Any, T]:
    """Yield what is to be done until the call has an answer, and return it.

    Raises:
        LoopwrightError: The server refuses; or it failed for longer than the patience lasts.
    """
    failures, since = 0, 0.0
    total_s = patience.total_s if call.patience_s is None else min(patience.total_s, call.patience_s)
    while True:
        outcome: Reply | Lost = yield Send(call)
        if isinstance(outcome, Reply) and outcome.status < 300:
            return read(call, outcome)
        failures += 1
        since = since or now()
        pause = patience.pause(failures, retry_after_s(outcome))
        if call.is_once or not may_help(outcome) or now() + pause > since + total_s:
            raise error_of(outcome)
        yield Pause(pause)


def read(call: Call[T], reply: Reply) -> T:
    """Return what a good answer says.

    Raises:
        ApiFailed: It says something that this version does not understand.
    """
    try:
        return call.read(reply.body)
    except ValueError as exc:
        place = f"{call.method} {call.path}"
        raise ApiFailed(f"the answer to {place} cannot be read: {str(exc)[:300]}", reply.status) from exc
