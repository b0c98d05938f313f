"""What is known of an API key, and how Redis keeps it; the key's secret is no part of it."""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from ..errors import Misuse

_TENANT = re.compile(r"[A-Za-z0-9_-]{1,64}")


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """What is known of a key; its secret is not.

    Attributes:
        id: Public part, as journals name it.
        tenant: Whose things it opens.
        scopes: What it may do.
        name: What its maker called it.
        created_ms: When it was made.
        expires_ms: When it stops working; `None`: never.
        rate: Requests per second; `None`: the server's default.
        burst: Requests at once; `None`: the server's default.
        revoked_ms: When it was revoked; `None`: it was not.
        used_ms: When it was last used, to the minute; `None`: never.
    """

    id: str
    tenant: str
    scopes: frozenset[str]
    name: str = ""
    created_ms: int = 0
    expires_ms: int | None = None
    rate: float | None = None
    burst: int | None = None
    revoked_ms: int | None = None
    used_ms: int | None = None

    def works_at(self, now_ms: int) -> bool:
        """Return whether the key is neither revoked nor expired."""
        return self.revoked_ms is None and (self.expires_ms is None or now_ms < self.expires_ms)


def check_key(
    tenant: str, scopes: Collection[str], name: str, ttl_s: float | None, rate: float | None, burst: int | None
) -> None:
    """Refuse what no key can have. Raises Misuse."""
    if not _TENANT.fullmatch(tenant):
        raise Misuse(f"tenant {tenant[:80]!r}: 1 to 64 letters, digits, _ and -")
    if not scopes:
        raise Misuse("a key needs at least one scope")
    if len(name) > 100 or not name.isprintable():
        raise Misuse("the name of a key has at most 100 printable characters")
    if ttl_s is not None and not 1 <= ttl_s <= 100 * 366 * 86_400:
        raise Misuse("a key expires after 1 second to 100 years")
    if rate is not None and not 0.001 <= rate <= 1_000_000:
        raise Misuse("the rate of a key is 0.001 to 1,000,000 requests a second")
    if burst is not None and not 1 <= burst <= 1_000_000:
        raise Misuse("the burst of a key is 1 to 1,000,000 requests")


def fields_of(record: KeyRecord) -> dict[str, str]:
    """Return a record as a hash in Redis; what is not set is `0`, a name of nobody's is empty."""
    return {
        "tenant": record.tenant,
        "scopes": " ".join(sorted(record.scopes)),
        "name": record.name,
        "created": str(record.created_ms),
        "expires": str(record.expires_ms or 0),
        "rate": repr(record.rate or 0),
        "burst": str(record.burst or 0),
        "revoked": str(record.revoked_ms or 0),
        "used": str(record.used_ms or 0),
    }


def record_of(key_id: str, row: Mapping[bytes, bytes]) -> KeyRecord | None:
    """Return what a hash in Redis says of a key; `None` when there is none."""
    if b"mac" not in row:
        return None
    text = {name.decode(): value.decode() for name, value in row.items()}
    return KeyRecord(
        key_id,
        text["tenant"],
        frozenset(text["scopes"].split()),
        text["name"],
        int(text["created"]),
        int(text["expires"]) or None,
        float(text["rate"]) or None,
        int(text["burst"]) or None,
        int(text["revoked"]) or None,
        int(text["used"]) or None,
    )
