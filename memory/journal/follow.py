"""One blocking read for all followers of a process: live events without a connection, or a poll, per follower.

A follower first reads what is stored, then waits here. The shared reader blocks in one XREAD over the streams of
all followers; who joins meanwhile makes the server let go of it (CLIENT UNBLOCK), so that the next XREAD includes
the new stream. After each wake-up the reader rests in proportion to the work it had, so ten thousand idle
followers cost a bounded share of a core.
"""

import asyncio
import random
import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

from redis.exceptions import RedisError, ResponseError

from ...errors import JournalUnavailable
from .wire import Wire

BLOCK_MS = 2000
"""How long one XREAD blocks, in milliseconds: also the longest that a missed wake-up can cost."""

QUEUE_LIMIT = 1000
"""How many events wait for one follower; one that falls further behind reads them from its stream again."""

Entry = tuple[str, bytes]
"""An event that nobody has decoded yet: its id and its JSON."""

_READ_COUNT = 500
_REST = 3.0
"""Seconds of rest per second of work, so the reader takes at most a quarter of a core."""


class Follower:
    """One waiting reader of one run's stream. `last` is the id behind which it waits."""

    __slots__ = ("error", "is_lagging", "last", "news", "queue", "stream")

    def __init__(self, stream: str, last: str) -> None:
        self.stream = stream
        self.last = last
        self.queue: deque[Entry] = deque()
        self.news = asyncio.Event()
        self.is_lagging = False
        self.error: JournalUnavailable | None = None

    async def batch(self) -> list[Entry]:
        """Wait for news and return it; empty when the follower lags and must read from the stream itself."""
        await self.news.wait()
        self.news.clear()
        if self.error is not None:
            raise self.error
        batch = [] if self.is_lagging else list(self.queue)
        self.queue.clear()
        self.is_lagging = False
        return batch

    def offer(self, entries: list[Entry]) -> None:
        """Hand over new events, or mark the follower as lagging when it holds too many already."""
        if len(self.queue) + len(entries) > QUEUE_LIMIT:
            self.is_lagging = True
        else:
            self.queue.extend(entries)
        self.news.set()


class SharedReader:
    """The blocking reader behind every `follow` of a process.

    Args:
        wire: A connection of its own, whose replies may take longer than `BLOCK_MS`.
        unblock: Makes the server release a blocked client of the given number; returns 1 when it did.
        patience_s: How long Redis may be away before the followers are told.
    """

    def __init__(self, wire: Wire, *, unblock: Callable[[int], Awaitable[Any]], patience_s: float) -> None:
        self._wire = wire
        self._unblock = unblock
        self._patience_s = patience_s
        self._followers: dict[str, list[Follower]] = {}
        self._ids: dict[str, str] = {}
        self._joined = asyncio.Event()
        self._is_stale = False
        self._is_blocked = False
        self._client_id = 0
        self._task: asyncio.Task[None] | None = None
        self._nudge: asyncio.Task[None] | None = None

    def join(self, follower: Follower) -> None:
        """Wait for news of the follower's stream from now on."""
        self._followers.setdefault(follower.stream, []).append(follower)
        known = self._ids.get(follower.stream)
        if known is None or order_of(follower.last) < order_of(known):
            self._ids[follower.stream] = follower.last
        self._is_stale = True
        self._joined.set()
        loop = asyncio.get_running_loop()
        if self._task is None or self._task.done():
            self._task = loop.create_task(self._run(), name="journal-follow")
        if self._is_blocked and (self._nudge is None or self._nudge.done()):
            self._nudge = loop.create_task(self._release(), name="journal-follow-nudge")

    def leave(self, follower: Follower) -> None:
        """Stop waiting. The stream leaves the next XREAD."""
        others = [each for each in self._followers.get(follower.stream, ()) if each is not follower]
        if others:
            self._followers[follower.stream] = others
        else:
            self._followers.pop(follower.stream, None)
            self._ids.pop(follower.stream, None)

    async def aclose(self) -> None:
        """Stop reading; followers that still wait are told."""
        tasks = [each for each in (self._task, self._nudge) if each is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._tell(JournalUnavailable("the journal is closed"))
        await self._wire.drop()

    async def _run(self) -> None:
        try:
            await self._read_on()
        except Exception as exc:  # the outermost border of this task: followers must not wait for ever
            self._tell(JournalUnavailable(f"unexpected {type(exc).__name__}"))
            raise

    async def _read_on(self) -> None:
        away_since: float | None = None
        while True:
            if not self._followers:
                self._joined.clear()
                await self._joined.wait()
            try:
                began, entries = await self._read()
                if away_since is not None:
                    self._look_again()
                away_since = None
                self._hand_out(entries)
                await asyncio.sleep(min(0.25, _REST * (time.thread_time() - began)))
            except (RedisError, OSError) as exc:
                self._client_id = 0
                away_since = away_since or time.monotonic()
                if time.monotonic() - away_since > self._patience_s:
                    self._tell(JournalUnavailable(f"no answer from Redis in time ({type(exc).__name__})"))
                await asyncio.sleep(random.uniform(0.02, 0.25))

    async def _read(self) -> tuple[float, list[tuple[str, list[Entry]]]]:
        """Block until some followed stream has news; return the thread's CPU time at the wake-up, and the news."""
        if not self._client_id:
            reply = (await self._wire.exchange([("CLIENT", "ID")]))[0]
            self._client_id = reply if isinstance(reply, int) else 0
        streams = list(self._ids)
        command = ("XREAD", "COUNT", _READ_COUNT, "BLOCK", BLOCK_MS, "STREAMS", *streams, *self._ids.values())
        self._is_stale = False
        self._is_blocked = True
        try:
            reply = (await self._wire.exchange([command]))[0]
        finally:
            self._is_blocked = False
        if isinstance(reply, ResponseError):
            if str(reply).startswith("UNBLOCKED"):
                return time.thread_time(), []
            raise reply
        began = time.thread_time()
        parts = reply.items() if isinstance(reply, dict) else reply or ()
        return began, [(name.decode(), [entry_of(entry) for entry in entries]) for name, entries in parts]

    def _hand_out(self, parts: list[tuple[str, list[Entry]]]) -> None:
        for stream, entries in parts:
            if stream not in self._followers or not entries:
                continue
            self._ids[stream] = entries[-1][0]
            for follower in self._followers[stream]:
                fresh = [each for each in entries if order_of(each[0]) > order_of(follower.last)]
                if fresh:
                    follower.last = fresh[-1][0]
                    follower.offer(fresh)

    def _look_again(self) -> None:
        """Send all followers to their streams: a server that was away may have lost some of what it had."""
        for follower in self._all():
            follower.is_lagging = True
            follower.news.set()

    async def _release(self) -> None:
        """Make the server let go of the blocked XREAD that does not know the newest followers."""
        while self._is_stale and self._is_blocked and self._client_id:
            try:
                if await self._unblock(self._client_id) != 1:
                    await asyncio.sleep(0.002)  # the XREAD has not reached the server yet
            except JournalUnavailable:
                return  # forbidden or away: the XREAD ends by itself within BLOCK_MS

    def _tell(self, error: JournalUnavailable) -> None:
        """Fail every follower."""
        for follower in self._all():
            follower.error = error
            follower.news.set()

    def _all(self) -> list[Follower]:
        return [follower for followers in self._followers.values() for follower in followers]


def entry_of(raw: list[Any]) -> Entry:
    """Turn a raw stream entry `[id, [field, value]]` into its id and the bytes of its event."""
    return raw[0].decode(), raw[1][1]


def order_of(event_id: str) -> tuple[int, int]:
    """Return an id of ours as numbers that compare."""
    ms, _, sequence = event_id.partition("-")
    return int(ms), int(sequence or 0)
