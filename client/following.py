"""Where a reader of a run's events stands: what it has seen, how it goes on after a cut, when it is over.

Pure of any connection: the drivers open streams and hand over what arrives, this decides. Every stored event is passed
on exactly once, whatever happens to servers and connections in between; deltas of tokens are passed on as they come,
and lost when nobody listens.
"""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from ..api.models import Page, Run, RunEvent
from ..planner.events import FINAL
from .call import Call, Flow, Lost, Reply
from .trouble import Patience, error_of, may_help, retry_after_s

FINAL_TYPES = frozenset(f"run.{status}" for status in FINAL)
SILENCE_S = 60.0
"""Longest time without a byte, after which a stream counts as cut; the server sends a comment every 15 s."""

STEADY_S = 5.0
"""A stream that lived for so long was no failure, even if nothing happened in the run."""


TRANSIENT = frozenset({"delta", "progress"})


@dataclass(frozen=True, slots=True)
class Live:
    """Something that happens right now and is never stored.

    Attributes:
        kind: `delta`: the model writes; `progress`: where a tool stands.
        data: The rest, as the server sent it.
    """

    kind: str
    data: Mapping[str, Any]

    @property
    def text(self) -> str:
        """What the model wrote since the last delta. Void when its step is rejected."""
        return str(self.data.get("text", ""))


class Following:
    """A run's events, from some event on.

    Args:
        run_id: The run.
        after: Id of the last event that was seen; empty: none.
        deltas: Whether to ask for deltas as well.
        patience: For how long failures in a row are borne.
        now: A monotonic clock, in seconds.
    """

    def __init__(
        self,
        run_id: str,
        after: str,
        deltas: bool,
        patience: Patience,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.is_over = False
        self._path = f"/v1/runs/{quote(run_id, safe='')}/events"
        self._last = after
        self._deltas = deltas
        self._patience = patience
        self._now = now
        self._failures = 0
        self._failing_since = 0.0
        self._opened: float | None = None
        self._has_news = False

    def call(self) -> tuple[Call[None], dict[str, str]]:
        """Return the request that opens the stream, and the headers it needs besides its own."""
        self._opened, self._has_news = None, False
        headers = {"accept": "text/event-stream", "cache-control": "no-store"}
        if self._last:
            headers["last-event-id"] = self._last
        return Call("GET", self._path, _unread, {"deltas": True if self._deltas else None}), headers

    def opened(self) -> None:
        """Note that the server streams."""
        self._opened = self._now()

    def take(self, kind: str, data: str) -> RunEvent | Live | None:
        """Return what arrived; `None` for what was seen before, and for what this version does not know.

        Raises:
            ValueError: The data is no event; the stream is to be opened anew.
        """
        if kind in TRANSIENT:
            said = json.loads(data)
            return Live(kind, said if isinstance(said, dict) else {})
        if "." not in kind:  # every stored event is named `noun.verb`
            return None
        event = RunEvent.model_validate_json(data)
        if self._last and _place(event.id) <= _place(self._last):
            return None
        self._last = event.id
        self._failures = 0
        self._has_news = True
        self.is_over = event.type in FINAL_TYPES
        return event

    def closed(self) -> Flow[None]:
        """Find out whether a stream that the server closed without news was closed because there is nothing to come.

        So it is when the caller has seen the final event already, in another stream or process.
        """
        if self.is_over or self._has_news:
            return
        run: Run = yield Call("GET", self._path.removesuffix("/events"), Run.model_validate_json)
        if run.status in FINAL:  # and only then: what was not there before may have come meanwhile
            query = {"after": self._last or None, "limit": 1}
            left: Page[RunEvent] = yield Call("GET", self._path, Page[RunEvent].model_validate_json, query)
            self.is_over = not left.items

    def pause(self, outcome: Reply | Lost) -> float:
        """Return how long to wait before the stream is opened anew.

        Raises:
            LoopwrightError: The server refuses, or has failed for longer than the patience lasts.
        """
        now = self._now()
        if self._opened is not None and now - self._opened >= STEADY_S:
            self._failures = 0
        if self._failures == 0:
            self._failing_since = now
        self._failures += 1
        pause = self._patience.pause(self._failures, retry_after_s(outcome))
        if not may_help(outcome) or now + pause > self._failing_since + self._patience.total_s:
            raise error_of(outcome)
        return pause


def _place(event_id: str) -> tuple[int, int]:
    """Return the order of an event's id, `milliseconds-sequence`."""
    moment, _, sequence = event_id.partition("-")
    return int(moment), int(sequence or 0)


def _unread(_body: bytes) -> None:
    """A stream has no body to read at once."""
