"""Flows about schedules: tasks that are submitted again and again."""

from collections.abc import Mapping
from typing import Any, TypedDict, Unpack
from urllib.parse import quote

from pydantic import JsonValue

from ..api.models import Firing, Page, Run, RunRequest, Schedule
from .call import Call, new_key
from .pages import Listing
from .runs import RunOptions
from .threads import nothing


class Changes(TypedDict, total=False):
    """What may be changed about a schedule."""

    cron: str
    timezone: str
    enabled: bool
    run: RunRequest | Mapping[str, Any]


def create(
    cron: str,
    agent: str,
    task: JsonValue,
    *,
    schedule_id: str | None = None,
    timezone: str = "UTC",
    enabled: bool = True,
    **options: Unpack[RunOptions],
) -> Call[Schedule]:
    """Submit a task whenever a cron expression says so.

    Args:
        cron: Five fields, such as `0 9 * * mon-fri`.
        agent: As for `submit`.
        task: As for `submit`.
        schedule_id: Its id; left out, one is drawn.
        timezone: IANA name in which the fields are read.
        enabled: Whether it fires.
        **options: As for `submit`.

    Raises:
        ScheduleInvalid: The expression or the time zone cannot be understood.
        ScheduleExists: There is one of that id.
    """
    wanted = {"agent": agent, "task": task, **options}
    body = {"cron": cron, "timezone": timezone, "enabled": enabled, "run": wanted}
    if schedule_id:
        body["id"] = schedule_id
    return Call("POST", "/v1/schedules", Schedule.model_validate_json, body=body, key=new_key())


def listed(*, page: int = 100) -> Listing[Schedule]:
    """Yield the schedules."""
    return Listing("/v1/schedules", Page[Schedule].model_validate_json, {"limit": page})


def get(schedule_id: str) -> Call[Schedule]:
    """Return a schedule, with the moment it fires next. Raises ScheduleNotFound."""
    return Call("GET", _path(schedule_id), Schedule.model_validate_json)


def change(schedule_id: str, **changes: Unpack[Changes]) -> Call[Schedule]:
    """Change a schedule; `enabled=False` silences it. Raises ScheduleNotFound, ScheduleInvalid."""
    return Call("PATCH", _path(schedule_id), Schedule.model_validate_json, body=dict(changes))


def trigger(schedule_id: str) -> Call[Run]:
    """Fire a schedule now, whatever its cron expression says. Raises ScheduleNotFound."""
    path = f"{_path(schedule_id)}/trigger"
    return Call("POST", path, Run.model_validate_json, body={}, key=new_key())


def history(schedule_id: str, *, page: int = 100) -> Listing[Firing]:
    """Yield when a schedule fired and what came of it, newest first. Raises ScheduleNotFound."""
    return Listing(f"{_path(schedule_id)}/history", Page[Firing].model_validate_json, {"limit": page})


def delete(schedule_id: str) -> Call[None]:
    """Delete a schedule; runs that it made stay. Raises ScheduleNotFound."""
    return Call("DELETE", _path(schedule_id), nothing)


def _path(schedule_id: str) -> str:
    return f"/v1/schedules/{quote(schedule_id, safe='')}"
