"""The journal on Redis: fenced Lua transitions, group commit, one reader for all followers.

Three connections per process, whatever the number of runs: one for transitions and appends, one for reads, one
that blocks for followers. Everything sent may be sent twice (`scripts`), so a lost answer is answered by sending
again, and nothing acknowledged is lost or doubled.
"""

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any, get_args

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from ...errors import Fenced, JournalUnavailable, Misuse, RunBusy, RunNotFound, SettingsInvalid
from ...planner.events import FINAL, Event, FinalEvent, Overlap, Priority, RunClaimed, RunCreated, Status, encode
from . import scripts
from .contract import BEHIND, HELD, Claim, Created, Durability, Idempotency, Lease, RunPage, RunRecord, Snapshot, Stored
from .creating import arguments_of, created_of, names_of
from .follow import BLOCK_MS, Entry, Follower, SharedReader, entry_of, order_of
from .group_commit import GroupCommit
from .ids import parse_event_id, shard_of
from .lists import Lists
from .pipe import Pipe
from .room import Room
from .rows import keys_of, ms_of, record_of, stored_of, text_of
from .server_check import ServerFacts, check_server
from .summary import cancel_reason
from .wire import Command, Wire, make_pool

_log = structlog.get_logger(__name__)

_RETENTION_PROBES = 4
"""Names of runs that each create checks for having gone, so that lists shrink with retention."""

_PROBLEMS = {"busy": HELD, "behind": BEHIND}
"""Why a claim is refused, by the script's code; any other is a final status."""


class RedisJournal:
    """A `Journal` on one Redis server (6.2 or later), shared by any number of processes.

    An instance belongs to the event loop of its first call. A lease belongs to the instance that claimed it.

    Args:
        server: `redis://`, `rediss://` or `unix://` URL, or an asyncio client whose address is used.
        durability: What a durable barrier waits for; the server must be set for it.
        retention_s: Seconds that a finished run and an idle thread stay; `None`: for ever.
        archived: Whether finished runs wait for somebody to archive and delete them, instead of expiring.
        timeout_s: How long create, claim, reads and the like may take before JournalUnavailable.
        patience_s: How long appends are tried while Redis is away; no longer than a lease is useful.
        linger_s: How long an append that nobody waits for may stay in the buffer.
        max_batch_bytes: About how much one script call carries.
        max_pending_bytes: How much may be buffered in all; more is refused.
    """

    def __init__(
        self,
        server: str | Redis,
        *,
        durability: Durability = "everysec",
        retention_s: float | None = None,
        archived: bool = False,
        timeout_s: float = 4.0,
        patience_s: float = 15.0,
        linger_s: float = 0.002,
        max_batch_bytes: int = 1 << 20,
        max_pending_bytes: int = 64 << 20,
    ) -> None:
        if durability not in get_args(Durability):
            raise SettingsInvalid("durability", f"{durability!r} is none of {', '.join(get_args(Durability))}")
        pool = make_pool(server, timeout_s)
        self._durability = durability
        self._timeout_s = timeout_s
        retention_ms = 0 if retention_s is None else max(1, int(retention_s * 1000))
        self._probes = _RETENTION_PROBES if retention_ms or archived else 0
        self._facts: ServerFacts | None = None
        self._connecting = asyncio.Lock()
        self._first = Wire(pool)
        wait_ms = int(timeout_s * 500) if durability == "replicated" else None
        self._writes = Pipe(self._first, recover=self._recover, gather=self._gather, wait_replicas=wait_ms)
        self._reads = Pipe(Wire(pool), recover=self._recover)
        self._commit = GroupCommit(
            wake=self._writes.wake,
            retention_ms=0 if archived else retention_ms,
            threads_ms=retention_ms,
            patience_s=patience_s,
            linger_s=linger_s,
            max_bytes=max_batch_bytes,
            max_pending_bytes=max_pending_bytes,
            replicated=wait_ms is not None,
        )
        blocking = make_pool(server, BLOCK_MS / 1000 + timeout_s)
        self._reader = SharedReader(Wire(blocking), unblock=self._unblock, patience_s=patience_s)
        self._lists = Lists(self._run, self._read_each)
        self._room = Room(lambda: self._read("INFO", "memory"))

    @property
    def durability(self) -> Durability:
        """What a durable barrier promises here."""
        return self._durability

    @property
    def facts(self) -> ServerFacts:
        """What the server said about itself. Raises Misuse before the first call has connected."""
        if self._facts is None:
            raise Misuse("the journal is not connected yet: await connect() first")
        return self._facts

    async def connect(self) -> ServerFacts:
        """Check that the server can keep the declared mode, and teach it the scripts; other calls do it as needed.

        Raises:
            SettingsInvalid: The server is not set for this mode, refuses the password, or is too old.
            JournalUnavailable: It cannot be reached.
        """
        async with self._connecting:
            if self._facts is None:
                pipe = Pipe(self._first, recover=self._recover)
                try:
                    await pipe.call("PING", timeout_s=self._timeout_s)
                    await self._recover(self._first)
                except (RedisError, OSError) as exc:
                    raise JournalUnavailable(f"no answer from Redis ({type(exc).__name__})") from exc
                finally:
                    await pipe.aclose()
        return self.facts

    async def create(
        self,
        created: RunCreated,
        *,
        events: Sequence[Event] = (),
        artifacts: Mapping[str, str] | None = None,
        due_in_s: float = 0.0,
        idempotency: Idempotency | None = None,
        overlap: Overlap = "reject",
    ) -> Created:
        """Accept a run; see `Journal.create`. The id must come from `new_run_id` with the same tenant.

        A server that takes no writes is not waited for. A child of a running run is taken while there is any memory.
        """
        names = names_of(created)
        if created.parent_run is None:
            await self._room.check()
        sent = arguments_of(created, events, artifacts or {}, due_in_s, idempotency, overlap, self._probes)
        return created_of(await self._run_durably(scripts.CREATE, names, *sent), created, idempotency)

    async def claim(self, run_id: str, worker: str, *, ttl_s: float) -> Claim:
        """Take the lease; see `Journal.claim`."""
        keys, token = keys_of(run_id), secrets.token_hex(8)
        head, _, tail = encode(RunClaimed(epoch=0, worker=worker)).partition(b'"epoch":0')
        reply = await self._run(
            scripts.CLAIM, (keys.run, keys.journal, keys.due), run_id, token, ms_of(ttl_s), head + b'"epoch":', tail
        )
        code = reply[0].decode()
        if code == "missing":
            raise RunNotFound(run_id=run_id)
        if code != "claimed":
            raise RunBusy(problem=_PROBLEMS.get(code, f"it has ended ({code})"), run_id=run_id)
        lease = Lease(run_id, int(reply[1]), token)
        self._commit.open(lease)
        return Claim(lease, tuple(stored_of(entry_of(raw)) for raw in reply[3]), text_of(reply[2]))

    async def renew(self, lease: Lease, *, ttl_s: float) -> str | None:
        """Prolong the lease, in the next group commit; see `Journal.renew`."""
        return await self._commit.renew(lease, ms_of(ttl_s))

    async def release(self, lease: Lease, *, due_in_s: float | None = 0.0) -> None:
        """Write what is buffered and give the lease back; nothing happens when it is not held any more."""
        try:
            await self._commit.barrier(lease, durable=False)
        except Fenced:
            return
        keys = keys_of(lease.run_id)
        delay = "" if due_in_s is None else ms_of(due_in_s)
        try:
            await self._run(scripts.RELEASE, (keys.run, keys.due), lease.run_id, lease.epoch, lease.token, delay)
        finally:
            self._commit.close(lease, Fenced(run_id=lease.run_id, epoch=lease.epoch))

    def append(self, lease: Lease, *events: Event, artifacts: Mapping[str, str] | None = None) -> None:
        """Buffer events; see `Journal.append`."""
        if events or artifacts:
            self._commit.append(lease, events, artifacts)

    async def barrier(self, lease: Lease, *, durable: bool = False) -> str | None:
        """Wait until what was appended is stored; see `Journal.barrier`."""
        return await self._commit.barrier(lease, durable=durable)

    async def read(self, run_id: str, *, after: str = "", limit: int | None = None) -> list[Stored]:
        """Return stored events; see `Journal.read`."""
        _, entries = await self._entries(run_id, after, limit)
        return [stored_of(entry) for entry in entries]

    async def follow(self, run_id: str, *, after: str = "") -> AsyncIterator[Stored]:
        """Yield events, live; see `Journal.follow`. Raises JournalUnavailable when Redis stays away."""
        follower: Follower | None = None
        entries: list[Entry] = []
        last = after
        try:
            while True:
                if not entries:
                    status, entries = await self._entries(run_id, last, None)
                    if not entries and status in FINAL:
                        return
                for entry in entries:
                    if last and order_of(entry[0]) <= order_of(last):
                        continue
                    last = entry[0]
                    stored = stored_of(entry)
                    yield stored
                    if isinstance(stored.event, _FINAL_TYPES):
                        return
                if follower is None:
                    follower = Follower(keys_of(run_id).journal, last)
                    self._reader.join(follower)
                entries = await follower.batch()
        finally:
            if follower is not None:
                self._reader.leave(follower)

    async def record(self, run_id: str) -> RunRecord:
        """Return the run's summary; see `Journal.record`."""
        row = await self._read("HMGET", keys_of(run_id).run, *scripts.RECORD_FIELDS)
        if row[0] is None:
            raise RunNotFound(run_id=run_id)
        return record_of(run_id, row)

    async def runs(
        self, tenant: str, *, status: Status | None = None, agent: str | None = None, before: str = "", limit: int = 50
    ) -> list[RunRecord]:
        """List a tenant's runs; see `Journal.runs`."""
        return await self._lists.runs(tenant, status, agent, before, limit)

    async def page(
        self, tenant: str, *, status: Status | None = None, agent: str | None = None, before: str = "", limit: int = 50
    ) -> RunPage:
        """List some of a tenant's runs; see `Journal.page`."""
        return await self._lists.page(tenant, status, agent, before, limit)

    async def artifact(self, run_id: str, artifact_id: str) -> str | None:
        """Return an artifact; see `Journal.artifact`."""
        try:
            return text_of(await self._read("HGET", keys_of(run_id).artifacts, artifact_id))
        except RunNotFound:
            return None

    async def snapshot(self, run_id: str, *, artifacts: bool = True) -> Snapshot:
        """Copy a run; see `Journal.snapshot`."""
        keys = keys_of(run_id)
        names = (keys.run, keys.journal, *((keys.artifacts,) if artifacts else ()))
        reply = await self._read("EVALSHA", scripts.SNAPSHOT.sha, len(names), *names)
        if reply is None:
            raise RunNotFound(run_id=run_id)
        row, entries, pieces = reply
        texts = [each.decode() for each in pieces]
        full = dict(zip(texts[::2], texts[1::2], strict=True))
        return Snapshot(record_of(run_id, row), tuple(stored_of(entry_of(each)) for each in entries), full)

    async def request_cancel(self, run_id: str, reason: str) -> None:
        """Ask the owner to stop; the first request's reason stays. See `Journal.request_cancel`."""
        keys = keys_of(run_id)
        reply = await self._run_durably(scripts.CANCEL, (keys.run, keys.due), run_id, cancel_reason(reason))
        if reply == b"missing":
            raise RunNotFound(run_id=run_id)

    def on_turn(self, call: Callable[[str, Priority], None] | None) -> None:
        """Have `call` told of runs whose turn has come; see `Journal.on_turn`."""
        self._commit.on_turn = call

    async def due(self, *, limit: int = 100) -> list[str]:
        """Return due runs; see `Journal.due`."""
        return [run_id for run_id, _ in await self._lists.due_runs(limit)]

    async def due_runs(self, *, limit: int = 100) -> list[tuple[str, Priority]]:
        """Return due runs with their priorities; see `Journal.due`."""
        return await self._lists.due_runs(limit)

    async def waiting(self, tenant: str, *, before: str = "", limit: int = 50) -> list[str]:
        """Return runs that wait for a person; see `Journal.waiting`."""
        return await self._lists.waiting(tenant, before, limit)

    async def list_ended(self, before_ms: int, limit: int) -> list[str]:
        """Return finished runs; see `Journal.list_ended`."""
        return await self._lists.ended(before_ms, limit)

    async def delete(self, run_id: str, *, listed_s: float = 0.0) -> None:
        """Remove a finished run; see `Journal.delete`."""
        keys = keys_of(run_id)
        names = (keys.run, keys.journal, keys.artifacts, keys.due, scripts.ended_key(shard_of(run_id)))
        if await self._run(scripts.DELETE, names, run_id, ms_of(listed_s)) == b"running":
            raise Misuse(f"run {run_id} has not ended, so it cannot be deleted: cancel it first")

    async def room(self) -> float | None:
        """Return how full Redis is; see `Journal.room`."""
        return await self._room.share()

    async def aclose(self) -> None:
        """Write what is buffered, as far as the server takes it in time, and close the connections."""
        leases = self._commit.leases()
        barriers = (self._commit.barrier(each, durable=False) for each in leases)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._timeout_s):
                await asyncio.gather(*barriers, return_exceptions=True)
        await self._reader.aclose()
        await self._room.aclose()
        await self._writes.aclose()
        await self._reads.aclose()

    def _gather(self) -> list[Any]:
        return self._commit.gather()

    async def _run(self, script: scripts.Script, keys: tuple[str, ...], *arguments: Any) -> Any:
        """Run a transition on the connection for writing."""
        if self._facts is None:
            await self.connect()
        return await self._writes.call("EVALSHA", script.sha, len(keys), *keys, *arguments, timeout_s=self._timeout_s)

    async def _run_durably(self, script: scripts.Script, keys: tuple[str, ...], *arguments: Any) -> Any:
        """Run a transition that a caller is told of: stored in the declared mode, or refused without a long wait."""
        if self._facts is None:
            await self.connect()
        command = ("EVALSHA", script.sha, len(keys), *keys, *arguments)
        return await self._writes.call(*command, timeout_s=self._timeout_s, durable=True, patient=False)

    async def _read(self, *command: Any) -> Any:
        """Run a command on the connection for reading."""
        (reply,) = await self._read_each([command])
        return reply

    async def _read_each(self, commands: Sequence[Command]) -> list[Any]:
        """Run commands in this order on the connection for reading."""
        if self._facts is None:
            await self.connect()
        return await self._reads.call_each(commands, timeout_s=self._timeout_s)

    async def _entries(self, run_id: str, after: str, limit: int | None) -> tuple[str, list[Entry]]:
        """Return the status and then the entries behind `after`: a final status means that no entry is missing."""
        keys = keys_of(run_id)
        start = "({}-{}".format(*parse_event_id(after)) if after else "-"
        count = () if limit is None else ("COUNT", limit)
        asked = ("HMGET", keys.run, "status", "archived"), ("XRANGE", keys.journal, start, "+", *count)
        (status, archived), raw = await self._read_each(asked)
        if status is None or archived:
            raise RunNotFound(run_id=run_id)
        return status.decode(), [entry_of(each) for each in raw]

    async def _unblock(self, client: int) -> Any:
        return await self._reads.call("CLIENT", "UNBLOCK", client, timeout_s=self._timeout_s)

    async def _recover(self, wire: Wire) -> None:
        """Verify the server and teach it the scripts: at the first call, and when it was restarted."""
        known, self._facts = self._facts, await check_server(wire, self._durability)
        if known is None and self._facts.notes:
            _log.warning("journal_server_not_verified", notes=self._facts.notes)
        replies = await wire.exchange([("SCRIPT", "LOAD", script.text) for script in scripts.ALL])
        for reply in replies:
            if isinstance(reply, Exception):
                raise JournalUnavailable(f"Redis refuses the scripts: {reply}") from reply


_FINAL_TYPES = get_args(FinalEvent)
