"""Schedules: tasks that are submitted again and again, and what came of it (keys: `schedule_scripts`).

Nothing here reads cron expressions: who writes a schedule says when it fires next. There is no leader: `due` hands a
firing to one process and hides it for a while; when that process dies, the next one takes over the same firing.
"""

import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic_core import from_json
from redis.asyncio import Redis

from ..errors import ScheduleExists, ScheduleInvalid, ScheduleNotFound
from . import schedule_scripts as scripts
from .client import run_script, translated
from .journal.scripts import Script

HISTORY = 100
"""Firings of one schedule that are remembered."""

MAX_SCHEDULES = 1_000
"""Schedules of one tenant."""

HOLD_S = 30.0
"""Seconds for which a firing that was taken is hidden from others."""

_PREFIX = "lw:{schedules}:"
_DUE = f"{_PREFIX}due"


@dataclass(frozen=True, slots=True)
class ScheduleRecord:
    """A schedule.

    Attributes:
        id: Its name among the tenant's.
        cron: When it fires: five fields.
        timezone: Zone in which they are read.
        enabled: Whether it fires.
        run: The request that is submitted.
        created_ms: When it was made, in milliseconds since 1970.
        version: Raised by one with every change.
        next_ms: When it fires next; `None`: never.
        last_ms: When it fired last, by schedule or by hand.
        last_run: The run that it made last.
    """

    id: str
    cron: str
    timezone: str
    enabled: bool
    run: Mapping[str, Any]
    created_ms: int
    version: int
    next_ms: int | None = None
    last_ms: int | None = None
    last_run: str | None = None


@dataclass(frozen=True, slots=True)
class Due:
    """A firing that somebody must see to.

    Attributes:
        tenant: Whose schedule it is.
        id: The schedule.
        moment_ms: When it was to fire: part of the firing's name.
        now_ms: What the server's clock says.
        run: The request to submit, as it was when the moment came.
        cron: When the schedule fires.
        timezone: Zone in which `cron` is read.
    """

    tenant: str
    id: str
    moment_ms: int
    now_ms: int
    run: Mapping[str, Any]
    cron: str
    timezone: str


@dataclass(frozen=True, slots=True)
class Fired:
    """What came of a firing: a run, or the problem that kept it from making one."""

    at_ms: int
    run_id: str | None = None
    problem: str | None = None
    manual: bool = False


class Schedules:
    """The schedules of all tenants; each call names the tenant, and nobody sees another's.

    Args:
        client: Client of the side stores.
        hold_s: Seconds for which a firing that was taken is hidden from others.
    """

    def __init__(self, client: Redis, *, hold_s: float = HOLD_S) -> None:
        self._client: Any = client
        self._hold_ms = int(hold_s * 1000)

    async def create(
        self,
        tenant: str,
        schedule_id: str | None,
        *,
        cron: str,
        timezone: str,
        enabled: bool,
        run: Mapping[str, Any],
        next_ms: int | None,
        nonce: str | None = None,
    ) -> ScheduleRecord:
        """Make a schedule; its id is drawn when none is given.

        Args:
            tenant: Whose it is.
            schedule_id: Its id.
            cron: When it fires.
            timezone: Zone in which `cron` is read.
            enabled: Whether it fires.
            run: The request to submit, as JSON.
            next_ms: When it fires first; `None`: never.
            nonce: The same again finds the schedule that the first call made.

        Raises:
            ScheduleExists: The tenant has one of that id.
            ScheduleInvalid: The tenant has as many schedules as are possible.
        """
        name = schedule_id or f"sch-{secrets.token_hex(8)}"
        keys = (_key("s", tenant, name), f"{_PREFIX}of:{tenant}", _DUE)
        fields = (_moment(next_ms), cron, timezone, str(int(enabled)), _json(run))
        given = (name, f"{tenant}:{name}", nonce or secrets.token_hex(8), MAX_SCHEDULES, *fields)
        reply = await self._run(scripts.CREATE, keys, *given)
        if reply == b"exists":
            raise ScheduleExists(schedule_id=name)
        if reply == b"full":
            raise ScheduleInvalid("id", f"there are {MAX_SCHEDULES:,} schedules already; delete some")
        return _record(name, reply)

    async def get(self, tenant: str, schedule_id: str) -> ScheduleRecord:
        """Return a schedule. Raises ScheduleNotFound."""
        (row,) = await self._rows(tenant, [schedule_id])
        if row is None:
            raise ScheduleNotFound(schedule_id=schedule_id)
        return row

    async def change(
        self,
        tenant: str,
        had: ScheduleRecord,
        *,
        cron: str,
        timezone: str,
        enabled: bool,
        run: Mapping[str, Any],
        next_ms: int | None,
    ) -> ScheduleRecord | None:
        """Change a schedule that is as `had` says; `None`: it has been changed or deleted meanwhile."""
        keys = (_key("s", tenant, had.id), _DUE)
        given = (f"{tenant}:{had.id}", had.version, _moment(next_ms), cron, timezone, str(int(enabled)), _json(run))
        reply = await self._run(scripts.CHANGE, keys, *given)
        return None if reply is None else _record(had.id, reply)

    async def delete(self, tenant: str, schedule_id: str) -> None:
        """Delete a schedule and its history; the runs that it made stay. Raises ScheduleNotFound."""
        keys = (_key("s", tenant, schedule_id), f"{_PREFIX}of:{tenant}", _DUE, _key("h", tenant, schedule_id))
        if await self._run(scripts.DELETE, keys, schedule_id, f"{tenant}:{schedule_id}") == 0:
            raise ScheduleNotFound(schedule_id=schedule_id)

    async def history(self, tenant: str, schedule_id: str, limit: int = HISTORY) -> list[Fired]:
        """Return what came of the schedule's firings, newest first. Raises ScheduleNotFound."""
        await self.get(tenant, schedule_id)
        raw = await self._call("LRANGE", _key("h", tenant, schedule_id), 0, max(1, limit) - 1)
        return [Fired(**from_json(each)) for each in raw]

    async def due(self, limit: int = 20) -> list[Due]:
        """Take firings whose moment has come. Each is to be answered by `fired` or `postpone`."""
        given = (f"{_PREFIX}s:", limit, self._hold_ms)
        now, *rows = await self._run(scripts.DUE, (_DUE,), *given)
        return [_due(int(now), row) for row in rows]

    async def fired(self, due: Due, what: Fired, next_ms: int | None) -> bool:
        """Write down what came of a firing, and when the schedule fires next; false when somebody else has done it."""
        keys = (_key("s", due.tenant, due.id), _key("h", due.tenant, due.id), _DUE)
        given = (f"{due.tenant}:{due.id}", due.moment_ms, _moment(next_ms), what.run_id or "", _entry(what), HISTORY)
        return bool(await self._run(scripts.FIRED, keys, *given))

    async def postpone(self, due: Due, delay_s: float) -> None:
        """Try the same firing again after a while."""
        at = due.now_ms + int(delay_s * 1000)
        await self._call("ZADD", _DUE, "XX", at, f"{due.tenant}:{due.id}")

    async def triggered(self, tenant: str, schedule_id: str, what: Fired) -> None:
        """Write down what came of firing a schedule by hand."""
        keys = (_key("s", tenant, schedule_id), _key("h", tenant, schedule_id))
        await self._run(scripts.TRIGGERED, keys, what.at_ms, what.run_id or "", _entry(what), HISTORY)

    async def _rows(self, tenant: str, names: Sequence[str]) -> Sequence[ScheduleRecord | None]:
        async with translated(), self._client.pipeline(transaction=False) as pipe:
            for name in names:
                pipe.hmget(_key("s", tenant, name), scripts.FIELDS)
            rows = await pipe.execute()
        return [_record(name, row) if row[0] is not None else None for name, row in zip(names, rows, strict=True)]

    async def _call(self, *command: Any) -> Any:
        async with translated():
            return await self._client.execute_command(*command)

    async def _run(self, script: Script, keys: tuple[str, ...], *arguments: Any) -> Any:
        return await run_script(self._client, script, keys, *arguments)

    async def list(self, tenant: str, *, before: str = "", limit: int = 50) -> list[ScheduleRecord]:
        """Return a tenant's schedules, newest first, from behind the schedule `before`."""
        key = f"{_PREFIX}of:{tenant}"
        rank = await self._call("ZREVRANK", key, before) if before else -1
        if rank is None:
            return []
        names = [each.decode() for each in await self._call("ZREVRANGE", key, rank + 1, rank + limit)]
        return [row for row in await self._rows(tenant, names) if row is not None]


def _key(kind: str, tenant: str, schedule_id: str) -> str:
    return f"{_PREFIX}{kind}:{tenant}:{schedule_id}"


def _moment(at_ms: int | None) -> str:
    return "" if at_ms is None else str(at_ms)


def _json(value: Mapping[str, Any]) -> str:
    return json.dumps(value, separators=(",", ":"))


def _entry(what: Fired) -> str:
    return _json({"at_ms": what.at_ms, "run_id": what.run_id, "problem": what.problem, "manual": what.manual})


def _record(name: str, row: Any) -> ScheduleRecord:
    cron, timezone, enabled, run, created, version, following, last, last_run = row
    return ScheduleRecord(
        name, cron.decode(), timezone.decode(), enabled == b"1", from_json(run), int(created), int(version),
        int(following) if following else None, int(last) if last else None, last_run.decode() if last_run else None,
    )  # fmt: skip


def _due(now_ms: int, row: Any) -> Due:
    name, moment, run, cron, timezone = row
    tenant, _, schedule_id = name.decode().partition(":")
    return Due(tenant, schedule_id, int(moment), now_ms, from_json(run), cron.decode(), timezone.decode())
