"""The journal on Redis: fenced Lua transitions, group commit, one reader for all followers.

Three connections per process, whatever the number of runs: one for transitions and appends, one for reads, one
that blocks for followers. Everything sent may be sent twice (`scripts`), so a lost answer is answered by sending
again, and nothing acknowledged is lost or doubled.
"""

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Mapping
from typing import Any, get_args

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from ...errors import Fenced, JournalUnavailable, Misuse, RunBusy, RunExists, RunNotFound, SettingsInvalid
from ...planner.events import FINAL, Event, FinalEvent, RunClaimed, RunCreated, Status, decode, encode
from . import scripts
from .contract import HELD, Claim, Durability, Lease, RunRecord, Stored
from .follow import BLOCK_MS, Entry, Follower, SharedReader, entry_of, order_of
from .group_commit import GroupCommit
from .ids import SHARDS, created_ms_of, parse_event_id, shard_of, shard_of_tenant
from .pipe import Pipe
from .server_check import ServerFacts, check_server
from .summary import one_line
from .wire import Command, Wire, make_pool

_log = structlog.get_logger(__name__)

PUSH_BACK_MS = 5_000
"""How long a run that `due` returned stays hidden from the next call, in milliseconds."""

_RETENTION_PROBES = 4
"""Names of runs that each create checks for having gone, so that lists shrink with retention."""

_LIST_SCAN = 500
"""How many runs one list script looks at."""


class RedisJournal:
    """A `Journal` on one Redis server (6.2 or later), shared by any number of processes.

    An instance belongs to the event loop of its first call. A lease belongs to the instance that claimed it.

    Args:
        server: `redis://`, `rediss://` or `unix://` URL, or an asyncio client whose address is used.
        durability: What a durable barrier waits for; the server must be set for it.
        retention_s: Seconds that a finished run stays; `None`: for ever.
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
        self._retention_ms = 0 if retention_s is None else max(1, int(retention_s * 1000))
        self._facts: ServerFacts | None = None
        self._connecting = asyncio.Lock()
        self._first = Wire(pool)
        self._turn = 0
        wait_ms = int(timeout_s * 500) if durability == "replicated" else None
        self._writes = Pipe(self._first, recover=self._recover, gather=self._gather, wait_replicas=wait_ms)
        self._reads = Pipe(Wire(pool), recover=self._recover)
        self._commit = GroupCommit(
            wake=self._writes.wake,
            retention_ms=self._retention_ms,
            patience_s=patience_s,
            linger_s=linger_s,
            max_bytes=max_batch_bytes,
            max_pending_bytes=max_pending_bytes,
            replicated=wait_ms is not None,
        )
        blocking = make_pool(server, BLOCK_MS / 1000 + timeout_s)
        self._reader = SharedReader(Wire(blocking), unblock=self._unblock, patience_s=patience_s)

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

    async def create(self, created: RunCreated) -> None:
        """Accept a run; see `Journal.create`. The id must come from `new_run_id` with the same tenant."""
        keys = _keys(created.run_id)
        shard = shard_of_tenant(created.tenant)
        if shard != shard_of(created.run_id):
            raise Misuse(f"run id {created.run_id} was not drawn for tenant {created.tenant!r}")
        names = (keys.run, keys.journal, keys.due, scripts.runs_key(shard, created.tenant))
        probes = _RETENTION_PROBES if self._retention_ms else 0
        reply = await self._run(
            scripts.CREATE, names, secrets.token_hex(8), created.run_id, created.tenant, created.agent,
            created.agent_hash, encode(created), probes,
        )  # fmt: skip
        if reply != b"created":
            raise RunExists(run_id=created.run_id)

    async def claim(self, run_id: str, worker: str, *, ttl_s: float) -> Claim:
        """Take the lease; see `Journal.claim`."""
        keys, token = _keys(run_id), secrets.token_hex(8)
        head, _, tail = encode(RunClaimed(epoch=0, worker=worker)).partition(b'"epoch":0')
        reply = await self._run(
            scripts.CLAIM, (keys.run, keys.journal, keys.due), run_id, token, _ms(ttl_s), head + b'"epoch":', tail
        )
        code = reply[0].decode()
        if code == "missing":
            raise RunNotFound(run_id=run_id)
        if code != "claimed":
            problem = HELD if code == "busy" else f"it has ended ({code})"
            raise RunBusy(problem=problem, run_id=run_id)
        lease = Lease(run_id, int(reply[1]), token)
        self._commit.open(lease)
        return Claim(lease, tuple(_stored(entry_of(raw)) for raw in reply[3]), _text(reply[2]))

    async def renew(self, lease: Lease, *, ttl_s: float) -> str | None:
        """Prolong the lease, in the next group commit; see `Journal.renew`."""
        return await self._commit.renew(lease, _ms(ttl_s))

    async def release(self, lease: Lease, *, due_in_s: float | None = 0.0) -> None:
        """Write what is buffered and give the lease back; nothing happens when it is not held any more."""
        try:
            await self._commit.barrier(lease, durable=False)
        except Fenced:
            return
        keys = _keys(lease.run_id)
        delay = "" if due_in_s is None else _ms(due_in_s)
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
        return [_stored(entry) for entry in entries]

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
                    stored = _stored(entry)
                    yield stored
                    if isinstance(stored.event, _FINAL_TYPES):
                        return
                if follower is None:
                    follower = Follower(_keys(run_id).journal, last)
                    self._reader.join(follower)
                entries = await follower.batch()
        finally:
            if follower is not None:
                self._reader.leave(follower)

    async def record(self, run_id: str) -> RunRecord:
        """Return the run's summary; see `Journal.record`."""
        row = await self._read("HMGET", _keys(run_id).run, *scripts.RECORD_FIELDS)
        if row[0] is None:
            raise RunNotFound(run_id=run_id)
        return _record(run_id, row)

    async def runs(
        self, tenant: str, *, status: Status | None = None, agent: str | None = None, before: str = "", limit: int = 50
    ) -> list[RunRecord]:
        """List a tenant's runs; see `Journal.runs`."""
        key = scripts.runs_key(shard_of_tenant(tenant), tenant)
        found: list[RunRecord] = []
        cursor = before
        while len(found) < limit:
            since = created_ms_of(cursor) if cursor else 0
            reply = await self._read(
                "EVALSHA", scripts.LIST.sha, 1, key, cursor, since, limit - len(found), _LIST_SCAN, status or "",
                agent or "",
            )  # fmt: skip
            found += [_record(run_id.decode(), row) for run_id, row in reply[1]]
            cursor = reply[0].decode()
            if not cursor:
                break
        return found

    async def artifact(self, run_id: str, artifact_id: str) -> str | None:
        """Return an artifact; see `Journal.artifact`."""
        try:
            return _text(await self._read("HGET", _keys(run_id).artifacts, artifact_id))
        except RunNotFound:
            return None

    async def request_cancel(self, run_id: str, reason: str) -> None:
        """Ask the owner to stop; the first request's reason stays. See `Journal.request_cancel`."""
        keys = _keys(run_id)
        if await self._run(scripts.CANCEL, (keys.run, keys.due), run_id, one_line(reason)) == b"missing":
            raise RunNotFound(run_id=run_id)

    async def due(self, *, limit: int = 100) -> list[str]:
        """Return due runs; see `Journal.due`. Shards take turns in being asked first."""
        peeks = [("ZRANGE", scripts.due_key(shard), 0, 0, "WITHSCORES") for shard in range(SHARDS)]
        now, *heads = await self._read_each(("TIME",), *peeks)
        now_ms = int(now[0]) * 1000 + int(now[1]) // 1000
        ready = [shard for shard, head in enumerate(heads) if head and float(head[1]) <= now_ms]
        self._turn += 1
        found: list[str] = []
        for offset in range(len(ready)):
            key = scripts.due_key(ready[(self._turn + offset) % len(ready)])
            reply = await self._run(scripts.DUE, (key,), limit - len(found), PUSH_BACK_MS)
            found += [run_id.decode() for run_id in reply]
            if len(found) >= limit:
                break
        return found

    async def aclose(self) -> None:
        """Write what is buffered, as far as the server takes it in time, and close the connections."""
        leases = self._commit.leases()
        barriers = (self._commit.barrier(each, durable=False) for each in leases)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._timeout_s):
                await asyncio.gather(*barriers, return_exceptions=True)
        await self._reader.aclose()
        await self._writes.aclose()
        await self._reads.aclose()

    def _gather(self) -> list[Any]:
        return self._commit.gather()

    async def _run(self, script: scripts.Script, keys: tuple[str, ...], *arguments: Any) -> Any:
        """Run a transition on the connection for writing."""
        if self._facts is None:
            await self.connect()
        return await self._writes.call("EVALSHA", script.sha, len(keys), *keys, *arguments, timeout_s=self._timeout_s)

    async def _read(self, *command: Any) -> Any:
        """Run a command on the connection for reading."""
        (reply,) = await self._read_each(command)
        return reply

    async def _read_each(self, *commands: Command) -> list[Any]:
        """Run commands in this order on the connection for reading."""
        if self._facts is None:
            await self.connect()
        return await self._reads.call_each(commands, timeout_s=self._timeout_s)

    async def _entries(self, run_id: str, after: str, limit: int | None) -> tuple[str, list[Entry]]:
        """Return the status and then the entries behind `after`: a final status means that no entry is missing."""
        keys = _keys(run_id)
        start = "({}-{}".format(*parse_event_id(after)) if after else "-"
        count = () if limit is None else ("COUNT", limit)
        status, raw = await self._read_each(("HGET", keys.run, "status"), ("XRANGE", keys.journal, start, "+", *count))
        if status is None:
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


def _keys(run_id: str) -> scripts.Keys:
    return scripts.keys_of(shard_of(run_id), run_id)


def _ms(seconds: float) -> int:
    return max(0, int(seconds * 1000))


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode()


def _stored(entry: Entry) -> Stored:
    return Stored(entry[0], decode(entry[1]))


def _record(run_id: str, row: list[bytes | None]) -> RunRecord:
    tenant, agent, status, reason, epoch, step, created, updated = [(each or b"").decode() for each in row]
    return RunRecord(
        run_id, tenant, agent, _STATUSES[status], reason or None, int(epoch), int(step), int(created), int(updated)
    )


_STATUSES: dict[str, Status] = {each: each for each in get_args(Status)}
_FINAL_TYPES = get_args(FinalEvent)
