"""API keys: made once, shown once, kept as a keyed hash, and looked up without a scan.

A key reads `lw_<id>.<secret>`: 64 random bits that name it, 256 that prove it. Stored is HMAC-SHA-256 of both under
the pepper (`pepper.py`); at that entropy a slow hash would protect nothing more and cost every request.

| key           | type   | holds                                                                       |
|---------------|--------|-----------------------------------------------------------------------------|
| lw:keys       | zset   | id -> moment of creation                                                    |
| lw:key:<id>   | hash   | mac tenant scopes name created expires rate burst revoked used              |
| lw:keys:pepper| string | a hash of the pepper, by which a host with another one notices              |

Moments are milliseconds since 1970. A key that was found is believed for two seconds, so a revocation is seen
everywhere well within five. Wrong keys are never remembered: each costs the same lookup and the same comparison,
whether its id exists or not.
"""

import hashlib
import hmac
import re
import secrets
import time
from collections.abc import Callable, Collection
from typing import Any

from redis.asyncio import Redis

from ..errors import KeyNotFound, PepperMismatch
from .client import translated
from .key_record import KeyRecord, check_key, fields_of, record_of
from .pepper import Pepper

ALL_KEYS = "lw:keys"
PEPPER_CHECK = "lw:keys:pepper"

FRESH_S = 2.0
"""How long what Redis said of a key is believed, in seconds."""

USED_EVERY_MS = 60_000
"""How exact `used_ms` is."""

_MAX_CACHED = 10_000
_TOKEN = re.compile(r"lw_([0-9a-f]{16})\.([A-Za-z0-9_-]{43})")
_NO_MAC = b"0" * 64

_TOUCH = """
-- KEYS the key. ARGV now, and the moment before which `used` must lie to be written again.
local used = redis.call('HGET', KEYS[1], 'used')
if used and tonumber(used) <= tonumber(ARGV[2]) then redis.call('HSET', KEYS[1], 'used', ARGV[1]) end
"""

_REVOKE = """
-- KEYS the key. ARGV now. The first revocation's moment stays.
local had = redis.call('HGET', KEYS[1], 'revoked')
if not had then return 0 end
if had == '0' then redis.call('HSET', KEYS[1], 'revoked', ARGV[1]) end
return 1
"""


def key_name(key_id: str) -> str:
    """Return where a key is stored."""
    return f"lw:key:{key_id}"


class Keys:
    """The API keys of an installation.

    Args:
        client: Redis; replies are bytes.
        pepper: What keys are hashed with.
        clock: Seconds since 1970.
        fresh_s: How long what Redis said of a key is believed.
    """

    def __init__(
        self,
        client: Redis,
        pepper: Pepper,
        *,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        fresh_s: float = FRESH_S,
    ) -> None:
        self._client: Any = client
        self._pepper = pepper
        self._clock = clock
        self._monotonic = monotonic
        self._fresh_s = fresh_s
        self._known: dict[bytes, tuple[float, KeyRecord]] = {}
        self._alive: dict[str, tuple[float, KeyRecord | None]] = {}
        self._any: tuple[float, bool] = (0.0, False)
        self._touch = self._client.register_script(_TOUCH)
        self._revoke = self._client.register_script(_REVOKE)

    async def create(
        self,
        tenant: str,
        scopes: Collection[str],
        *,
        name: str = "",
        ttl_s: float | None = None,
        rate: float | None = None,
        burst: int | None = None,
    ) -> tuple[KeyRecord, str]:
        """Make a key; return what is known of it, and the key itself, which cannot be had again.

        Args:
            tenant: Whose things it opens.
            scopes: What it may do; at least one.
            name: For people.
            ttl_s: Seconds until it expires; `None`: never.
            rate: Requests per second; `None`: the server's default.
            burst: Requests at once; `None`: the server's default.

        Raises:
            Misuse: One of these cannot be.
            PepperMismatch: This host's pepper is not the one of the keys that exist.
            SettingsInvalid: There is no pepper and none can be made.
            JournalUnavailable: Redis gave no answer. Retry is safe: an unused key may be left over.
        """
        check_key(tenant, scopes, name, ttl_s, rate, burst)
        pepper = await self._pepper_for_new_keys()
        now = self._now_ms()
        expires = None if ttl_s is None else now + int(ttl_s * 1000)
        record = KeyRecord(secrets.token_hex(8), tenant, frozenset(scopes), name, now, expires, rate, burst)
        token = f"lw_{record.id}.{secrets.token_urlsafe(32)}"
        async with translated(), self._client.pipeline(transaction=True) as pipe:
            pipe.hset(key_name(record.id), mapping={"mac": _mac(pepper, token).hex(), **fields_of(record)})
            pipe.zadd(ALL_KEYS, {record.id: now})
            await pipe.execute()
        self._any = (0.0, False)
        return record, token

    async def verify(self, token: str) -> KeyRecord | None:
        """Return the key that a request presented; `None` when it is wrong, expired or revoked.

        Raises:
            PepperMismatch: This host's pepper is not the one that keys were hashed with.
            JournalUnavailable: Redis gave no answer.
        """
        shape = _TOKEN.fullmatch(token)
        if shape is None:
            return None
        pepper = self._pepper.find()
        if pepper is None:
            if await self.any():
                raise PepperMismatch(self._pepper.source)
            return None
        mac = _mac(pepper, token)
        known = self._known.get(mac)
        if known is not None and known[0] > self._monotonic():
            return known[1] if known[1].works_at(self._now_ms()) else None
        return await self._look_up(shape[1], pepper, mac)

    async def is_active(self, key_id: str) -> bool:
        """Return whether a key that was verified before still works; what is answered is at most two seconds old.

        Raises:
            JournalUnavailable: Redis gave no answer.
        """
        known = self._alive.get(key_id)
        if known is None or known[0] <= self._monotonic():
            async with translated():
                record = record_of(key_id, await self._client.hgetall(key_name(key_id)))
            known = _remember(self._alive, key_id, self._monotonic() + self._fresh_s, record)
        return known[1] is not None and known[1].works_at(self._now_ms())

    async def any(self) -> bool:
        """Return whether a key was ever made here; what is answered is at most two seconds old."""
        until, found = self._any
        if until <= self._monotonic():
            async with translated():
                found = await self._client.zcard(ALL_KEYS) > 0
            self._any = (self._monotonic() + self._fresh_s, found)
        return found

    async def find(self, key_id: str) -> KeyRecord:
        """Return what is known of a key. Raises KeyNotFound."""
        async with translated():
            record = record_of(key_id, await self._client.hgetall(key_name(key_id)))
        if record is None:
            raise KeyNotFound(key_id)
        return record

    async def list(self, tenant: str | None = None) -> "list[KeyRecord]":
        """Return all keys, oldest first, or those of one tenant. Reads every key: for people, not for requests."""
        async with translated():
            ids = [each.decode() for each in await self._client.zrange(ALL_KEYS, 0, -1)]
            async with self._client.pipeline(transaction=False) as pipe:
                for key_id in ids:
                    pipe.hgetall(key_name(key_id))
                rows = await pipe.execute()
        records = [record_of(key_id, row) for key_id, row in zip(ids, rows, strict=True)]
        return [each for each in records if each is not None and tenant in (None, each.tenant)]

    async def revoke(self, key_id: str) -> None:
        """Make a key stop working: here at once, in other processes within two seconds. Revoking again changes nothing.

        Raises:
            KeyNotFound: There is no such key.
        """
        async with translated():
            found = await self._revoke(keys=[key_name(key_id)], args=[self._now_ms()])
        if not found:
            raise KeyNotFound(key_id)
        self._alive.pop(key_id, None)
        self._known = {mac: known for mac, known in self._known.items() if known[1].id != key_id}

    async def check(self) -> None:
        """Compare this host's pepper with the one of the keys that exist, if any.

        Raises:
            PepperMismatch: They differ, or this host has none.
            SettingsInvalid: The pepper cannot be used.
        """
        pepper = self._pepper.find()
        async with translated():
            stored = await self._client.get(PEPPER_CHECK)
        if stored is not None and (pepper is None or not hmac.compare_digest(stored, _check_value(pepper))):
            raise PepperMismatch(self._pepper.source)

    async def _look_up(self, key_id: str, pepper: bytes, mac: bytes) -> KeyRecord | None:
        async with translated(), self._client.pipeline(transaction=False) as pipe:
            pipe.get(PEPPER_CHECK)
            pipe.hgetall(key_name(key_id))
            stored, row = await pipe.execute()
        if stored is not None and not hmac.compare_digest(stored, _check_value(pepper)):
            raise PepperMismatch(self._pepper.source)
        if not hmac.compare_digest(row.get(b"mac", _NO_MAC), mac.hex().encode()):
            return None
        record, now = record_of(key_id, row), self._now_ms()
        if record is None or not record.works_at(now):
            return None
        _remember(self._known, mac, self._monotonic() + self._fresh_s, record)
        if now - (record.used_ms or 0) >= USED_EVERY_MS:
            async with translated():
                await self._touch(keys=[key_name(key_id)], args=[now, now - USED_EVERY_MS])
        return record

    async def _pepper_for_new_keys(self) -> bytes:
        """Return the pepper; made, when no keys exist and there is none. From then on Redis knows it by its hash."""
        await self.check()
        pepper = self._pepper.find_or_make()
        async with translated():
            await self._client.set(PEPPER_CHECK, _check_value(pepper), nx=True)
        await self.check()  # of two hosts that made one each at the same time, the first is right
        return pepper

    def _now_ms(self) -> int:
        return int(self._clock() * 1000)


def _remember(cache: dict[Any, Any], name: Any, until: float, record: Any) -> Any:
    while len(cache) >= _MAX_CACHED:
        del cache[next(iter(cache))]
    cache.pop(name, None)
    cache[name] = (until, record)
    return cache[name]


def _mac(pepper: bytes, text: str) -> bytes:
    return hmac.digest(pepper, text.encode(), hashlib.sha256)


def _check_value(pepper: bytes) -> bytes:
    return _mac(pepper, "loopwright: the pepper of these keys").hex().encode()
