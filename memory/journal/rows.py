"""From what Redis stores to our values."""

from collections.abc import Sequence
from typing import get_args

from ...planner.events import Status, decode
from . import scripts
from .contract import RunRecord, Stored
from .follow import Entry
from .ids import shard_of

_STATUSES: dict[str, Status] = {each: each for each in get_args(Status)}


def keys_of(run_id: str) -> scripts.Keys:
    """Return the keys of a run. Raises RunNotFound when the text is no run id."""
    return scripts.keys_of(shard_of(run_id), run_id)


def ms_of(seconds: float) -> int:
    """Return whole milliseconds, none below zero."""
    return max(0, int(seconds * 1000))


def text_of(value: bytes | None) -> str | None:
    """Return a reply as text; nothing stays nothing."""
    return None if value is None else value.decode()


def stored_of(entry: Entry) -> Stored:
    """Return the event of a stream's entry."""
    return Stored(entry[0], decode(entry[1]))


def record_of(run_id: str, row: Sequence[bytes | None]) -> RunRecord:
    """Return the summary that `scripts.RECORD_FIELDS` of a run's hash make."""
    tenant, agent, status, reason, epoch, step, created, updated, archived = [(each or b"").decode() for each in row]
    return RunRecord(
        run_id, tenant, agent, _STATUSES[status], reason or None, int(epoch), int(step), int(created), int(updated),
        bool(archived),
    )  # fmt: skip
