"""Run ids: opaque text that sorts by time of creation and names the shard, so that an id alone finds its keys.

`SS TTTTTTTTTTTT RRRRRRRRRRRRRRRRRRRR` without the spaces: two digits of shard, then a ULID in hexadecimal
(48 bits of milliseconds since 1970, 80 random bits). A tenant always has the same shard.
"""

import re
import secrets
import time
import zlib
from collections.abc import Callable

from ...errors import Misuse, RunNotFound

SHARDS = 64
"""How many shards there are. Fixed: ids carry it."""

_EVENT_ID = re.compile(r"([0-9]{1,18})(?:-([0-9]{1,18}))?")
_SHAPE = re.compile(r"[0-5][0-9][0-9a-f]{32}|6[0-3][0-9a-f]{32}")


def new_run_id(
    tenant: str, *, clock: Callable[[], float] = time.time, random: Callable[[int], bytes] = secrets.token_bytes
) -> str:
    """Draw an id for a run of `tenant`.

    Args:
        tenant: Whose run it is; decides the shard.
        clock: Seconds since 1970.
        random: Returns so many random bytes.
    """
    return f"{shard_of_tenant(tenant):02d}{int(clock() * 1000):012x}{random(10).hex()}"


def shard_of_tenant(tenant: str) -> int:
    """Return the shard (0 to 63) that holds everything of `tenant`."""
    return zlib.crc32(tenant.encode()) % SHARDS


def shard_of(run_id: str) -> int:
    """Return the shard in a run id. Raises RunNotFound when the text is no run id."""
    if not _SHAPE.fullmatch(run_id):
        raise RunNotFound(run_id=run_id)
    return int(run_id[:2])


def created_ms_of(run_id: str) -> int:
    """Return the moment in a run id, in milliseconds since 1970, by the clock that drew the id."""
    shard_of(run_id)
    return int(run_id[2:14], 16)


def parse_event_id(text: str) -> tuple[int, int]:
    """Return an event id as (milliseconds, sequence). Raises Misuse when the text is none."""
    found = _EVENT_ID.fullmatch(text)
    if not found:
        raise Misuse(f"not an event id (milliseconds-sequence): {text[:40]!r}")
    return int(found[1]), int(found[2] or 0)
