"""Group commit: the appends of all runs in a process gather while a round trip is in flight and leave together.

Per lease there is one writer: what is buffered becomes one numbered batch, and the next batch of the same lease
is built only when the answer to this one is there. So a batch can be sent again after a lost answer, the server
recognises its number, and the order of a run's events is the order of its appends.
"""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from typing import cast

from ...errors import Fenced, JournalError, JournalUnavailable, LoopwrightError
from ...planner.events import Event, Priority, encode
from .contract import Lease
from .ids import shard_of
from .pipe import Parcel
from .scripts import WRITE, due_key
from .summary import change_of

THREAD_MESSAGES = 2_000
"""About how many messages a thread keeps; older ones leave it. Their runs still have them."""

CLOSED_KEPT = 4096
"""How many closed writers are remembered, so that a late call learns what became of its lease."""

_Waiter = asyncio.Future[str | None]


class Writer:
    """What waits to be written under one lease."""

    __slots__ = (
        "artifacts", "cancel", "due", "durable", "ending", "events", "fields", "flying", "identity", "lease", "lines",
        "seq", "size", "synced", "ttl_ms", "waiters",
    )  # fmt: skip

    def __init__(self, lease: Lease) -> None:
        self.lease = lease
        self.identity = f"{lease.run_id} {lease.epoch} {lease.token}"
        self.due = due_key(shard_of(lease.run_id))
        self.seq = 0
        self.lines: list[bytes] = []
        self.artifacts: list[bytes] = []
        self.events: list[Event] = []
        self.size = 0
        self.ttl_ms = 0
        self.cancel: str | None = None
        self.durable = False
        self.synced = True
        self.ending = False
        self.waiters: list[_Waiter] = []
        self.flying: list[_Waiter] | None = None

    @property
    def is_idle(self) -> bool:
        """Whether nothing waits to be written."""
        return not self.lines and not self.artifacts and not self.ttl_ms

    def pack(self) -> bytes:
        """Return the record that `scripts.WRITE` reads, and empty the buffer."""
        if self.lines or self.artifacts:
            self.seq += 1
        status, reason, step = change_of(self.events)
        head = (
            f"{self.identity} {self.seq} {self.ttl_ms} {len(self.lines)} {len(self.artifacts) // 2}"
            f" {'-' if step is None else step} {status or '-'} {'-' if reason is None else '=' + reason}"
        )
        record = b"\n".join((head.encode(), *self.lines, b""))
        self.lines, self.artifacts, self.events, self.size, self.ttl_ms = [], [], [], 0, 0
        return record


class GroupCommit:
    """The writers of a process and the batches they make.

    Args:
        wake: Starts a round trip soon; it asks `gather` for what there is to send.
        retention_ms: How long finished runs are kept; 0: until somebody deletes them.
        threads_ms: How long idle threads are kept; 0: for ever.
        patience_s: How long a batch is tried before the writer fails for good.
        linger_s: How long an append without a barrier may wait for company, in seconds.
        max_bytes: About how large one script call may get.
        max_pending_bytes: How much may be buffered in all; more is refused.
        replicated: Whether a durable barrier needs a replica's word.
    """

    def __init__(
        self,
        *,
        wake: Callable[[], None],
        retention_ms: int,
        threads_ms: int,
        patience_s: float,
        linger_s: float,
        max_bytes: int,
        max_pending_bytes: int,
        replicated: bool,
    ) -> None:
        self._wake = wake
        self._lives = (retention_ms, threads_ms, THREAD_MESSAGES)
        self._patience_s = patience_s
        self._linger_s = linger_s
        self._max_bytes = max_bytes
        self._max_pending_bytes = max_pending_bytes
        self._replicated = replicated
        self._writers: dict[str, Writer] = {}
        self._closed: dict[str, JournalError | None] = {}
        self._dirty: dict[str, Writer] = {}
        self._timer: asyncio.TimerHandle | None = None
        self.pending_bytes = 0
        self.on_turn: Callable[[str, Priority], None] | None = None

    def open(self, lease: Lease) -> None:
        """Accept writes under a lease that was just claimed."""
        self._writers.setdefault(lease.token, Writer(lease))

    def append(self, lease: Lease, events: Sequence[Event], artifacts: Mapping[str, str] | None) -> None:
        """Buffer events and artifacts; see `Journal.append`."""
        writer = self._writers.get(lease.token)
        if writer is None or writer.ending:
            raise self._refusal(lease)
        lines = [encode(event) for event in events]
        pieces = [text.encode() for pair in artifacts.items() for text in pair] if artifacts else []
        size = sum(map(len, lines)) + sum(map(len, pieces))
        if self.pending_bytes + size > self._max_pending_bytes:
            raise JournalUnavailable(f"more than {self._max_pending_bytes} bytes wait to be written")
        writer.lines += lines
        writer.artifacts += pieces
        writer.events += events
        writer.size += size
        writer.synced = False
        self.pending_bytes += size
        if any(event.type in _ENDS for event in events):
            writer.ending = True
        self._dirty[lease.token] = writer
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._linger_s, self._flush)

    async def barrier(self, lease: Lease, *, durable: bool) -> str | None:
        """Wait until what was appended is stored; see `Journal.barrier`."""
        writer = self._writers.get(lease.token)
        if writer is None:
            self._settled(lease)
            return None
        durable = durable and self._replicated
        if not writer.is_idle or (durable and not writer.synced):
            writer.durable |= durable
            await self._join(writer)
        elif writer.flying is not None:
            waiter = asyncio.get_running_loop().create_future()
            writer.flying.append(waiter)
            await waiter
        return writer.cancel

    async def renew(self, lease: Lease, ttl_ms: int) -> str | None:
        """Prolong the lease with the next batch; return the reason of a requested cancellation."""
        writer = self._writers.get(lease.token)
        if writer is None:
            self._settled(lease)
            return None
        if writer.ending:
            return writer.cancel  # the final event is on its way: there is nothing left to prolong
        writer.ttl_ms = ttl_ms
        return await self._join(writer)

    def close(self, lease: Lease, error: JournalError | None) -> None:
        """Forget the writer of a lease; later calls raise `error`, or find all well when there is none."""
        self._writers.pop(lease.token, None)
        self._dirty.pop(lease.token, None)
        self._closed[lease.token] = error
        if len(self._closed) > CLOSED_KEPT:
            del self._closed[next(iter(self._closed))]

    def leases(self) -> list[Lease]:
        """Return the leases that have something buffered or in flight."""
        return [each.lease for each in self._writers.values() if not each.is_idle or each.flying is not None]

    def gather(self) -> list[Parcel]:
        """Turn everything buffered into script calls: one per shard, or more where they would get too large."""
        if not self._dirty:
            return []
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        by_shard: dict[str, list[Writer]] = {}
        for token, writer in list(self._dirty.items()):
            if writer.flying is None:
                del self._dirty[token]
                by_shard.setdefault(writer.due, []).append(writer)
        deadline = time.monotonic() + self._patience_s
        return [
            self._parcel(due, chunk, deadline) for due, writers in by_shard.items() for chunk in self._chunks(writers)
        ]

    def _chunks(self, writers: list[Writer]) -> list[list[Writer]]:
        """Cut a shard's writers so that no script call is much larger than `max_bytes`."""
        chunks: list[list[Writer]] = [[]]
        size = 0
        for writer in writers:
            if chunks[-1] and size + writer.size > self._max_bytes:
                chunks.append([])
                size = 0
            chunks[-1].append(writer)
            size += writer.size
        return chunks

    def _parcel(self, due: str, writers: list[Writer], deadline: float) -> Parcel:
        size = sum(writer.size for writer in writers)
        durable = any(writer.durable for writer in writers)
        artifacts: list[bytes] = []
        records: list[bytes] = []
        for writer in writers:
            artifacts += writer.artifacts
            records.append(writer.pack())
            writer.synced, writer.durable = durable, False
            writer.flying, writer.waiters = writer.waiters, []

        def done(reply: bytes | None, error: LoopwrightError | None) -> None:
            self.pending_bytes -= size
            answers: Sequence[bytes | None] = reply.split(b"\n") if reply is not None else [None] * len(writers)
            for writer, answer in zip(writers, answers, strict=True):
                self._landed(writer, answer, error)
            if self._dirty:
                self._wake()

        command = ("EVALSHA", WRITE.sha, 1, due, *self._lives, b"".join(records), *artifacts)
        return Parcel(command, deadline, done, size=size + 256, durable=durable)

    def _landed(self, writer: Writer, answer: bytes | None, error: LoopwrightError | None) -> None:
        """Take the server's answer for one writer and wake those who wait for it."""
        waiters, writer.flying = writer.flying or [], None
        failure: JournalError | None = None
        if answer is None:
            failure = JournalUnavailable(str(getattr(error, "problem", error)))
        elif answer == b"!":
            failure = Fenced(run_id=writer.lease.run_id, epoch=writer.lease.epoch)
        if failure is not None:
            waiters += writer.waiters
            self.pending_bytes -= writer.size
            self.close(writer.lease, failure)
        elif writer.ending and writer.is_idle and (writer.synced or not self._replicated):
            self.close(writer.lease, None)
        cancel = self._read_answer(answer) if answer and len(answer) > 1 else None
        writer.cancel = cancel or writer.cancel
        for waiter in waiters:
            if not waiter.done():
                waiter.set_exception(copy(failure)) if failure else waiter.set_result(cancel)

    def _read_answer(self, answer: bytes) -> str | None:
        """Return the reason of a requested cancellation, and tell of a run whose turn has come."""
        cancel, _, turn = answer[1:].decode().partition("\t")
        if turn and self.on_turn is not None:
            run_id, _, priority = turn.partition(" ")
            self.on_turn(run_id, cast(Priority, priority))
        return cancel or None

    async def _join(self, writer: Writer) -> str | None:
        """Wait for the next batch of the writer, and start it now."""
        waiter: _Waiter = asyncio.get_running_loop().create_future()
        writer.waiters.append(waiter)
        self._dirty[writer.lease.token] = writer
        self._wake()
        return await waiter

    def _settled(self, lease: Lease) -> None:
        """Say what became of a lease whose writer is gone: all was stored, or the error."""
        if lease.token not in self._closed:
            raise Fenced(run_id=lease.run_id, epoch=lease.epoch)
        error = self._closed[lease.token]
        if error is not None:
            raise copy(error)

    def _refusal(self, lease: Lease) -> JournalError:
        """Return why nothing more may be written under a lease."""
        error = self._closed.get(lease.token)
        return copy(error) if error else Fenced(run_id=lease.run_id, epoch=lease.epoch)

    def _flush(self) -> None:
        self._timer = None
        if self._dirty:
            self._wake()


_ENDS = frozenset({"run.succeeded", "run.failed", "run.cancelled", "run.expired"})
