"""Which runs there are: a tenant's, the due, the waiting, the finished."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol, cast

from ...planner.events import Priority, Status
from . import scripts
from .contract import RunPage, RunRecord
from .ids import SHARDS, created_ms_of, shard_of_tenant
from .rows import record_of
from .wire import Command

PUSH_BACK_MS = 5_000
"""How long a run that `due` returned stays hidden from the next call, in milliseconds."""

_SCAN = 500
"""How many runs one list script looks at."""

_SCRIPTS = 4
"""How many list scripts one page may cost."""


class Run(Protocol):
    """Runs a script: its keys, then its arguments."""

    def __call__(self, script: scripts.Script, keys: tuple[str, ...], *arguments: Any) -> Awaitable[Any]:
        """Return the script's reply."""
        ...


class Lists:
    """The lists of runs in Redis.

    Args:
        run: Runs a transition.
        read: Runs commands that only read, in their order.
    """

    def __init__(self, run: Run, read: Callable[[Sequence[Command]], Awaitable[list[Any]]]) -> None:
        self._run = run
        self._read = read
        self._turn = 0

    async def runs(
        self, tenant: str, status: Status | None, agent: str | None, before: str, limit: int
    ) -> list[RunRecord]:
        """See `Journal.runs`."""
        found: list[RunRecord] = []
        while len(found) < limit:
            page = await self.page(tenant, status, agent, before, limit - len(found))
            found += page.records
            before = page.next
            if not before:
                break
        return found

    async def page(self, tenant: str, status: Status | None, agent: str | None, before: str, limit: int) -> RunPage:
        """See `Journal.page`."""
        key = scripts.runs_key(shard_of_tenant(tenant), tenant)
        found: list[RunRecord] = []
        for _ in range(_SCRIPTS):
            since = created_ms_of(before) if before else 0
            arguments = (before, since, limit - len(found), _SCAN, status or "", agent or "")
            (reply,) = await self._read([("EVALSHA", scripts.LIST.sha, 1, key, *arguments)])
            found += [record_of(run_id.decode(), row) for run_id, row in reply[1]]
            before = reply[0].decode()
            if not before or len(found) >= limit:
                break
        return RunPage(found, before)

    async def waiting(self, tenant: str, before: str, limit: int) -> list[str]:
        """See `Journal.waiting`."""
        key = scripts.waiting_key(shard_of_tenant(tenant), tenant)
        since = created_ms_of(before) if before else 0
        (reply,) = await self._read([("EVALSHA", scripts.WAITING.sha, 1, key, before, since, limit)])
        return [run_id.decode() for run_id in reply]

    async def due_runs(self, limit: int) -> list[tuple[str, Priority]]:
        """See `Journal.due_runs`. Shards take turns in being asked first."""
        peeks: list[Command] = [("ZRANGE", scripts.due_key(shard), 0, 0, "WITHSCORES") for shard in range(SHARDS)]
        now, *heads = await self._read([("TIME",), *peeks])
        now_ms = int(now[0]) * 1000 + int(now[1]) // 1000
        ready = [shard for shard, head in enumerate(heads) if head and float(head[1]) <= now_ms]
        self._turn += 1
        found: list[tuple[str, Priority]] = []
        for offset in range(len(ready)):
            key = scripts.due_key(ready[(self._turn + offset) % len(ready)])
            reply = await self._run(scripts.DUE, (key,), limit - len(found), PUSH_BACK_MS)
            names = [each.decode() for each in reply]
            found += [(names[at], cast(Priority, names[at + 1])) for at in range(0, len(names), 2)]
            if len(found) >= limit:
                break
        return found

    async def ended(self, before_ms: int, limit: int) -> list[str]:
        """See `Journal.list_ended`."""
        asked: list[Command] = [
            ("ZRANGEBYSCORE", scripts.ended_key(shard), "-inf", before_ms, "WITHSCORES", "LIMIT", 0, limit)
            for shard in range(SHARDS)
        ]
        rows: list[tuple[float, str]] = []
        for part in await self._read(asked):
            rows += [(float(part[at + 1]), part[at].decode()) for at in range(0, len(part), 2)]
        return [run_id for _, run_id in sorted(rows)[:limit]]
