"""The commands `loopwright keys create | list | revoke`: they write to Redis themselves, so no server need run.

A key is printed alone on standard output, once, so `KEY=$(loopwright keys create …)` keeps it off the screen.
"""

import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .cli_shared import AsJson, DataDir, Redis, die, note, print_json, settings_of, wait_for

if TYPE_CHECKING:
    from .memory.key_record import KeyRecord
    from .memory.keys import Keys
    from .settings import Settings

keys = typer.Typer(name="keys", help="API keys: make, list and revoke them.", no_args_is_help=True)

Tenant = Annotated[str | None, typer.Option("--tenant", help="Whose things the key opens; the setting's tenant.")]
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


@keys.command()
def create(
    tenant: Tenant = None,
    scopes: Annotated[str, typer.Option("--scopes", help="Of read, runs, approve, admin; commas between.")] = "runs",
    name: Annotated[str, typer.Option("--name", help="What it is for, for people.")] = "",
    expires: Annotated[str | None, typer.Option("--expires", help="Lives so long: 90d, 12h; else for ever.")] = None,
    rate: Annotated[float | None, typer.Option("--rate", help="Requests a second; none: 50.")] = None,
    burst: Annotated[int | None, typer.Option("--burst", help="Requests at once; none: 100.")] = None,
    redis: Redis = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Make a key and print it; it cannot be shown again. The first one ends access without a key within 5 seconds."""
    settings = settings_of(redis_url=redis, data_dir=data_dir)
    wanted: dict[str, Any] = {
        "tenant": tenant or settings.tenant, "scopes": _scopes(scopes), "name": name,
        "ttl_s": None if expires is None else _seconds(expires), "rate": rate, "burst": burst,
    }  # fmt: skip
    record, token = wait_for(_create(settings, wanted))
    if as_json:
        print_json(json.dumps({**_as_json(record), "key": token}))
        return
    note(f"key {record.id} of tenant {record.tenant} may {', '.join(sorted(record.scopes))}; it is shown this once:")
    print(token)


@keys.command("list")
def list_keys(
    tenant: Annotated[str | None, typer.Option("--tenant", help="Only keys of this tenant.")] = None,
    redis: Redis = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """List the keys: whose they are, what they may do, whether they still work and when they were last used."""
    records = wait_for(_list(settings_of(redis_url=redis, data_dir=data_dir), tenant))
    if as_json:
        for each in records:
            print_json(json.dumps(_as_json(each)))
        return
    if not records:
        note("no keys: the API answers programs on its own machine only, without a key")
    rows = [_HEAD, *(_row(each) for each in records)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEAD))]
    for row in rows if records else ():
        print("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())


@keys.command()
def revoke(
    key_id: Annotated[str, typer.Argument(help="Id of the key, as `keys list` shows it.")],
    redis: Redis = None,
    data_dir: DataDir = None,
) -> None:
    """Make a key stop working, everywhere within 5 seconds; open streams of it are closed."""
    named = key_id.strip().removeprefix("lw_").partition(".")[0]
    wait_for(_revoke(settings_of(redis_url=redis, data_dir=data_dir), named))
    note(f"key {named} is revoked")


@asynccontextmanager
async def _opened(settings: "Settings") -> "AsyncIterator[Keys]":
    from .memory.client import make_client
    from .memory.connect import open_redis
    from .memory.keys import Keys
    from .memory.pepper import Pepper

    async with open_redis(settings) as found:
        client = make_client(found.url)
        try:
            yield Keys(client, Pepper.of(settings))
        finally:
            await client.aclose()


async def _create(settings: "Settings", wanted: dict[str, Any]) -> "tuple[KeyRecord, str]":
    async with _opened(settings) as store:
        return await store.create(**wanted)


async def _list(settings: "Settings", tenant: str | None) -> "list[KeyRecord]":
    async with _opened(settings) as store:
        return await store.list(tenant)


async def _revoke(settings: "Settings", key_id: str) -> None:
    async with _opened(settings) as store:
        await store.revoke(key_id)


def _scopes(text: str) -> list[str]:
    from .api.caller import SCOPES

    wanted = [each for each in re.split(r"[,\s]+", text.strip()) if each]
    unknown = [each for each in wanted if each not in SCOPES]
    if unknown or not wanted:
        die(f"--scopes {text!r}: {unknown[0] + ' is none' if unknown else 'names none'} of {', '.join(SCOPES)}")
    return wanted


def _seconds(text: str) -> float:
    found = re.fullmatch(r"([0-9]{1,6})([smhd])", text.strip())
    if not found or not int(found[1]):
        die(f"--expires {text!r}: a number and s, m, h or d, such as 90d")
    return int(found[1]) * _UNITS[found[2]]


_HEAD = ("id", "tenant", "scopes", "state", "created", "last used", "name")


def _row(record: "KeyRecord") -> tuple[str, ...]:
    scopes = ",".join(sorted(record.scopes))
    created, used = _day(record.created_ms), _minute(record.used_ms)
    return (record.id, record.tenant, scopes, _state(record), created, used, record.name)


def _state(record: "KeyRecord") -> str:
    if record.revoked_ms is not None:
        return "revoked"
    if not record.works_at(int(datetime.now(UTC).timestamp() * 1000)):
        return "expired"
    return "works" if record.expires_ms is None else f"until {_day(record.expires_ms)}"


def _as_json(record: "KeyRecord") -> dict[str, Any]:
    moments = {
        f"{name}_at": None if ms is None else datetime.fromtimestamp(ms / 1000, UTC).isoformat()
        for name, ms in (
            ("created", record.created_ms), ("expires", record.expires_ms), ("revoked", record.revoked_ms),
            ("used", record.used_ms),
        )
    }  # fmt: skip
    return {
        "id": record.id, "tenant": record.tenant, "scopes": sorted(record.scopes), "name": record.name,
        "rate": record.rate, "burst": record.burst, **moments,
    }  # fmt: skip


def _day(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d")


def _minute(ms: int | None) -> str:
    return "never" if ms is None else datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d %H:%M")
