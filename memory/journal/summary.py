"""What a batch of events changes in a run's summary: the few fields that lists show and scripts decide by."""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from ...planner.events import Event, Status

REASON_LIMIT = 200
"""Longest reason kept in a summary, in characters; the event itself keeps the whole text."""

_STATUS: dict[str, Status] = {
    "run.started": "running",
    "run.waiting": "waiting",
    "run.resumed": "running",
    "run.succeeded": "succeeded",
    "run.failed": "failed",
    "run.cancelled": "cancelled",
    "run.expired": "expired",
}
_REASON: dict[str, Callable[[Any], str]] = {
    "run.waiting": lambda event: str(event.reason),
    "run.resumed": lambda event: "",
    "budget.reached": lambda event: str(event.limit),
    "run.failed": lambda event: str(event.reason),
    "run.cancelled": lambda event: str(event.reason),
    "run.expired": lambda event: "deadline",
}


class Change(NamedTuple):
    """New values of summary fields; `None` leaves a field as it is, an empty reason clears it."""

    status: Status | None = None
    reason: str | None = None
    step: int | None = None


UNCHANGED = Change()


def change_of(events: Iterable[Event]) -> Change:
    """Return what the events, in this order, change in the summary."""
    status, reason, step = UNCHANGED
    for event in events:
        kind = event.type
        status = _STATUS.get(kind, status)
        step = getattr(event, "step", step)
        if kind in _REASON:
            reason = one_line(_REASON[kind](event))
    return Change(status, reason, step)


def cancel_reason(text: str) -> str:
    """Return why a run is to stop, as it is stored: never empty, because an empty reason is none."""
    return one_line(text) or "requested"


def one_line(text: str) -> str:
    """Return `text` as one line of at most `REASON_LIMIT` characters."""
    return " ".join(text.split())[:REASON_LIMIT]
