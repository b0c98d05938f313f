"""Conversations: what was said in them, and which run has them. Runs of a thread go one at a time.

The journal's transitions give a thread to a run, take it back and write its messages (`journal/scripts.py` lists the
keys). Here threads are made, read and deleted. A thread is also made by its first run.
"""

import json
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, cast

from pydantic_core import from_json
from redis.asyncio import Redis

from ..errors import ThreadExists, ThreadNotFound
from ..planner.events import Said
from .client import run_script, translated
from .journal.ids import parse_event_id, shard_of_tenant
from .journal.scripts import Script, thread_key, threads_key

_PAGE = 16
"""How many messages are asked for at once: a task may have a megabyte."""

_PAGE_CHARS = 4_000_000
"""Characters after which a page has no more messages."""

_LOOK_BACK = 1_000
"""How many messages are looked at for those that were answered."""

_CREATE = Script(
    "thread_create",
    """
-- KEYS thread, threads. ARGV id, metadata as JSON, nonce, ms that the thread stays without a run ('0' for ever).
-- -> moment of creation, or nil where the thread is there. The nonce tells a repetition.
local had = redis.call('HMGET', KEYS[1], 'created', 'gone', 'nonce')
if had[3] == ARGV[3] then return had[1] end
if had[1] and not had[2] then return nil end
local now = digits(now_ms())
redis.call('HSET', KEYS[1], 'created', now, 'updated', now, 'metadata', ARGV[2], 'nonce', ARGV[3])
redis.call('HDEL', KEYS[1], 'gone')
redis.call('ZADD', KEYS[2], now, ARGV[1])
if ARGV[4] ~= '0' and redis.call('HEXISTS', KEYS[1], 'run') == 0 then redis.call('PEXPIRE', KEYS[1], ARGV[4]) end
return now
""",
)

_GET = Script(
    "thread_get",
    """
-- KEYS as names of threads. -> for each: fields, messages, waiting runs; nil where there is none. Reads only.
local found = {}
for index, key in ipairs(KEYS) do
  local had = redis.call('HMGET', key, 'created', 'updated', 'metadata', 'run', 'gone')
  found[index] = had[1] and not had[5]
    and {had, redis.call('XLEN', key .. ':m'), redis.call('LRANGE', key .. ':q', 0, -1)}
end
return found
""",
)

_FORGET = Script(
    "thread_forget",
    """
-- KEYS threads, names of threads. ARGV their ids. Takes those that retention removed off the list. -> how many.
local count = 0
for index, id in ipairs(ARGV) do
  local had = redis.call('HMGET', KEYS[index + 1], 'created', 'gone')
  if not had[1] or had[2] then count = count + redis.call('ZREM', KEYS[1], id) end
end
return count
""",
)

_DELETE = Script(
    "thread_delete",
    """
-- KEYS thread, threads. ARGV id. -> 1 deleted, 0 not there. Runs of the thread go on, one at a time: the hash stays
-- until the last of them has ended, marked as gone.
local had = redis.call('HMGET', KEYS[1], 'created', 'gone', 'run')
redis.call('ZREM', KEYS[2], ARGV[1])
if not had[1] or had[2] then return 0 end
redis.call('DEL', KEYS[1] .. ':m')
if had[3] then redis.call('HSET', KEYS[1], 'gone', '1') else redis.call('DEL', KEYS[1]) end
return 1
""",
)


@dataclass(frozen=True, slots=True)
class Thread:
    """A conversation.

    Attributes:
        id: Its name among the tenant's.
        created_ms: When it was made, in milliseconds since 1970.
        updated_ms: When a run last came or ended.
        metadata: JSON object of the caller.
        messages: How many messages there are.
        running: Run that has the thread.
        queued: Runs that wait for their turn, the next one first.
    """

    id: str
    created_ms: int
    updated_ms: int
    metadata: Mapping[str, Any] = field(default_factory=dict)
    messages: int = 0
    running: str | None = None
    queued: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ThreadMessage:
    """One message. `id` (`milliseconds-sequence`) orders them; `text` is JSON where a task or an answer was no text."""

    id: str
    role: Literal["user", "assistant"]
    text: str
    run_id: str

    @property
    def at_ms(self) -> int:
        """When its run ended, in milliseconds since 1970."""
        return int(self.id.partition("-")[0])


class Threads:
    """The threads of all tenants; each call names the tenant, and nobody sees another's.

    Args:
        client: Replies are bytes.
        retention_s: How long a thread without runs stays, in seconds; `None`: until it is deleted.
    """

    def __init__(self, client: Redis, *, retention_s: float | None = None) -> None:
        self._client: Any = client
        self._retention_ms = 0 if retention_s is None else max(1, int(retention_s * 1000))

    async def create(
        self,
        tenant: str,
        thread_id: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        *,
        nonce: str | None = None,
    ) -> Thread:
        """Make an empty thread; its id is drawn when none is given.

        Args:
            tenant: Whose thread it is.
            thread_id: Its id.
            metadata: JSON object of the caller.
            nonce: The same again finds the thread that the first call made.

        Raises:
            ThreadExists: The tenant has one of that id.
            Misuse: The id has characters that are not possible.
            JournalUnavailable: Not known whether it was made.
        """
        name = thread_id or f"t-{secrets.token_hex(8)}"
        note = json.dumps(dict(metadata or {}), ensure_ascii=False, separators=(",", ":"))
        arguments = (name, note, nonce or secrets.token_hex(8), self._retention_ms)
        created = await self._run(_CREATE, self._keys(tenant, name), *arguments)
        if created is None:
            raise ThreadExists(thread_id=name)
        return Thread(name, int(created), int(created), dict(metadata or {}))

    async def get(self, tenant: str, thread_id: str) -> Thread:
        """Return a thread. Raises ThreadNotFound."""
        (found,) = await self._get(tenant, [thread_id])
        if found is None:
            raise ThreadNotFound(thread_id=thread_id)
        return found

    async def messages(self, tenant: str, thread_id: str, *, after: str = "", limit: int = 100) -> list[ThreadMessage]:
        """Return the messages of a `page`."""
        return (await self.page(tenant, thread_id, after=after, limit=limit))[0]

    async def page(
        self, tenant: str, thread_id: str, *, after: str = "", limit: int = 100
    ) -> tuple[list[ThreadMessage], bool]:
        """Return messages, oldest first, from behind the message `after`, and whether there may be more.

        A page ends early where its messages are large; it has one at least, unless there is none.

        Raises:
            ThreadNotFound: There is no such thread.
            Misuse: `after` is no id of a message.
        """
        await self.get(tenant, thread_id)
        key, _ = self._keys(tenant, thread_id)
        found: list[ThreadMessage] = []
        room, asked = _PAGE_CHARS, min(_PAGE, limit)
        while asked and room > 0:
            start = "({}-{}".format(*parse_event_id(after)) if after else "-"
            raw = await self._call("XRANGE", f"{key}:m", start, "+", "COUNT", asked)
            found += [_message(each) for each in raw]
            if len(raw) < asked:
                return found, False
            after, room = found[-1].id, room - sum(len(each.text) for each in found[-asked:])
            asked = min(_PAGE, limit - len(found))
        return found, True

    async def history(
        self, tenant: str, thread_id: str, *, limit: int = 40, max_chars: int = 24_000
    ) -> tuple[Said, ...]:
        """Return what was asked and answered before, oldest first, for the prompt of the thread's next run.

        Only questions that were answered count, each with its answer; of those the newest that fit, among about
        the last thousand messages. A thread that is not there has no history.

        Args:
            tenant: Whose thread it is.
            thread_id: The thread.
            limit: How many messages at most; two make a pair.
            max_chars: How many characters in all at most.
        """
        key, _ = self._keys(tenant, thread_id)
        newest_first: list[tuple[Said, Said]] = []
        room, end = max_chars, "+"
        for _ in range(_LOOK_BACK // _PAGE):
            page = await self._call("XREVRANGE", f"{key}:m", end, "-", "COUNT", _PAGE)
            for question, answer in _pairs(_message(raw) for raw in page):
                room -= len(question.text) + len(answer.text)
                if room < 0 or 2 * len(newest_first) + 2 > limit:
                    return _in_order(newest_first)
                newest_first.append((question, answer))
            if len(page) < _PAGE:
                return _in_order(newest_first)
            # The last message of a page may be the answer to the first of the next: it is read again.
            end = page[-1][0].decode()
        return _in_order(newest_first)

    async def delete(self, tenant: str, thread_id: str) -> None:
        """Forget what was said. Runs of the thread go on, in turns, and leave no messages. Raises ThreadNotFound."""
        if await self._run(_DELETE, self._keys(tenant, thread_id), thread_id) == 0:
            raise ThreadNotFound(thread_id=thread_id)

    async def _get(self, tenant: str, names: Iterable[str]) -> list[Thread | None]:
        names = [*names]
        if not names:
            return []
        keys = tuple(self._keys(tenant, name)[0] for name in names)
        rows = await self._run(_GET, keys)
        return [_thread(name, row) if row else None for name, row in zip(names, rows, strict=True)]

    async def _forget(self, tenant: str, key: str, gone: Sequence[str]) -> int:
        """Take threads that retention removed off the list; return how many."""
        if not gone:
            return 0
        names = (key, *(self._keys(tenant, each)[0] for each in gone))
        return int(await self._run(_FORGET, names, *gone))

    @staticmethod
    def _keys(tenant: str, thread_id: str) -> tuple[str, str]:
        shard = shard_of_tenant(tenant)
        return thread_key(shard, tenant, thread_id), threads_key(shard, tenant)

    async def _call(self, *command: Any) -> Any:
        async with translated():
            return await self._client.execute_command(*command)

    async def _run(self, script: Script, keys: tuple[str, ...], *arguments: Any) -> Any:
        return await run_script(self._client, script, keys, *arguments)

    async def list(self, tenant: str, *, before: str = "", limit: int = 50) -> list[Thread]:
        """Return a tenant's threads, those used last first, from behind the thread `before`.

        A thread that is used while somebody pages moves to the front. A `before` that is gone ends the list.
        """
        key = threads_key(shard_of_tenant(tenant), tenant)
        rank = await self._call("ZREVRANK", key, before) if before else -1
        found: list[Thread] = []
        while rank is not None and len(found) < limit:
            asked = limit - len(found)
            names = [each.decode() for each in await self._call("ZREVRANGE", key, rank + 1, rank + asked)]
            seen = [each for each in await self._get(tenant, names) if each is not None]
            found += seen
            gone = set(names).difference(each.id for each in seen)
            rank += len(names) - await self._forget(tenant, key, [*gone])
            if len(names) < asked:
                break
        return found


def _thread(name: str, row: Any) -> Thread:
    (created, updated, metadata, running, _), messages, queued = row
    return Thread(
        name, int(created), int(updated or created), from_json(metadata or b"{}"), int(messages),
        running.decode() if running else None, tuple(each.decode() for each in queued),
    )  # fmt: skip


def _message(raw: Any) -> ThreadMessage:
    event_id, fields = raw
    role = cast(Literal["user", "assistant"], fields[b"role"].decode())
    return ThreadMessage(event_id.decode(), role, _text(fields[b"json"]), fields[b"run"].decode())


def _text(stored: bytes) -> str:
    """Return a JSON string as its text, and any other JSON value as JSON."""
    return cast(str, from_json(stored)) if stored.startswith(b'"') else stored.decode()


def _pairs(newest_first: Iterable[ThreadMessage]) -> Iterable[tuple[Said, Said]]:
    """Yield each question that was answered, with its answer."""
    answer: ThreadMessage | None = None
    for each in newest_first:
        if each.role == "user" and answer is not None and answer.run_id == each.run_id:
            yield Said("user", each.text), Said("assistant", answer.text)
        answer = each if each.role == "assistant" else None


def _in_order(newest_first: list[tuple[Said, Said]]) -> tuple[Said, ...]:
    return tuple(said for pair in reversed(newest_first) for said in pair)
