"""What the script that creates a run is told, and what its answer means."""

import hashlib
import secrets
from collections.abc import Mapping, Sequence
from typing import Any

from ...errors import IdempotencyConflict, LoopwrightError, Misuse, RunExists, ThreadBusy
from ...planner.events import Event, Overlap, RunCreated, encode
from . import scripts
from .contract import Created, Idempotency
from .ids import shard_of, shard_of_tenant
from .rows import ms_of
from .summary import change_of
from .turns import said_of, takes_thread


def names_of(created: RunCreated) -> tuple[str, ...]:
    """Return the keys of `scripts.CREATE`. Raises Misuse when the run id belongs to another shard."""
    shard = shard_of_tenant(created.tenant)
    if shard != shard_of(created.run_id):
        raise Misuse(f"run id {created.run_id} was not drawn for tenant {created.tenant!r}")
    if created.thread_id is not None:
        scripts.thread_key(shard, created.tenant, created.thread_id)
    keys = scripts.keys_of(shard, created.run_id)
    return keys.run, keys.journal, keys.due, scripts.runs_key(shard, created.tenant)


def arguments_of(
    created: RunCreated,
    events: Sequence[Event],
    artifacts: Mapping[str, str],
    due_in_s: float,
    idempotency: Idempotency | None,
    overlap: Overlap,
    probes: int,
) -> list[Any]:
    """Return the arguments of `scripts.CREATE`, with a nonce of their own."""
    has_turn = takes_thread(created)
    same = idempotency or Idempotency("", "")
    return [
        secrets.token_hex(8), created.run_id, created.tenant, created.agent, created.agent_hash,
        change_of(events).step or 0, "" if created.priority == "normal" else created.priority, created.webhook or "",
        ms_of(due_in_s), probes, idempotency_hash(same.key) if idempotency else "", same.fingerprint,
        max(1, ms_of(same.ttl_s)), (created.thread_id or "") if has_turn else "", overlap,
        said_of(created.task) if has_turn else "", 1 + len(events), encode(created), *(encode(each) for each in events),
        *(text for pair in artifacts.items() for text in pair),
    ]  # fmt: skip


def idempotency_hash(key: str) -> str:
    """Return the part of a Redis key that stands for a caller's idempotency key."""
    return hashlib.blake2b(key.encode(), digest_size=16).hexdigest()


def created_of(reply: Sequence[bytes], created: RunCreated, idempotency: Idempotency | None) -> Created:
    """Return what `scripts.CREATE` answered.

    Raises:
        RunExists, IdempotencyConflict, ThreadBusy: As in `Journal.create`.
    """
    code, run_id = reply[0].decode(), reply[1].decode()
    refusals: dict[str, LoopwrightError] = {
        "exists": RunExists(run_id=run_id),
        "conflict": IdempotencyConflict(key=idempotency.key if idempotency else ""),
        "thread_busy": ThreadBusy(thread_id=created.thread_id or "", run_id=run_id),
    }
    if code in refusals:
        raise refusals[code]
    return Created(run_id, is_new=code != "repeated", is_queued=code == "queued")
