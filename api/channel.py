"""One run's events on their way to all who watch it in this process, and each client's end of that way."""

import asyncio
import random
import time
from collections.abc import Callable
from contextlib import aclosing
from typing import Any, cast, get_args

import structlog
from starlette.types import Send

from ..errors import JournalUnavailable, LoopwrightError
from ..memory.journal.contract import Journal, Stored
from ..memory.journal.ids import parse_event_id
from ..memory.live import LiveFeed
from ..planner.events import FinalEvent
from .views import event_json

_log = structlog.get_logger(__name__)

MAX_PENDING_BYTES = 65_536
"""Most bytes that wait for one client; one that is further behind reads from the journal again."""

MAX_PENDING_DELTAS = 16_384
"""Bytes that wait for one client above which transient events are left out for it."""

STALL_S = 30.0
"""Seconds after which a client that takes nothing is cut off."""

PATIENCE_S = 60.0
"""For how long streams stay open while the journal is away, in seconds; then clients may look elsewhere."""

PAGE = 200
"""Events read from the journal at once."""

Position = tuple[int, int]
"""An event id as numbers, so that it compares."""

_FINAL: tuple[type[Any], ...] = get_args(FinalEvent)


def frame_of(stored: Stored) -> bytes:
    """Return an event in the format of `text/event-stream`."""
    head = f"id: {stored.id}\nevent: {stored.event.type}\ndata: ".encode()
    return head + event_json(stored) + b"\n\n"


class Stream:
    """One client.

    It lags while it reads from the journal by itself: at its beginning, and whenever it could not keep up.

    Args:
        channel: Where its events come from.
        key_id: The key that it was opened with.
        position: The event behind which it begins.
        wants_deltas: Whether it is told of transient events.
        send: Where it is sent to.
        abort: Drops its connection, where the server offers that.
    """

    __slots__ = (
        "_abort", "_is_ending", "_is_lagging", "_pending", "_position", "_pump", "_send", "_sent", "_since", "_size",
        "channel", "is_closed", "key_id", "wants_deltas",
    )  # fmt: skip

    def __init__(
        self,
        channel: "Channel",
        key_id: str,
        position: Position,
        wants_deltas: bool,
        send: Send,
        abort: Callable[[], None] | None = None,
    ) -> None:
        self.channel = channel
        self.key_id = key_id
        self.wants_deltas = wants_deltas
        self.is_closed = False
        self._send = send
        self._abort = abort
        self._position = position
        self._sent = position
        self._pending: list[bytes] | None = None
        self._size = 0
        self._is_lagging = True
        self._is_ending = False
        self._pump: asyncio.Task[None] | None = None
        self._since = 0.0

    def begin(self) -> None:
        """Start with what is stored."""
        self._wake()

    def offer(self, frame: bytes, position: Position) -> None:
        """Take an event, unless the client has it or is to read it from the journal."""
        if self._is_lagging or position <= self._position:
            return
        if self._pending and self._size + len(frame) > MAX_PENDING_BYTES:
            self._pending, self._size, self._is_lagging = None, 0, True
            self._position = self._sent
        else:
            self._position = position
            self._add(frame)
        self._wake()

    def offer_transient(self, frame: bytes) -> None:
        """Take what is not stored, unless the client is busy with what is."""
        if not self._is_lagging and self._size < MAX_PENDING_DELTAS:
            self._add(frame)
            self._wake()

    def end(self, *, at_once: bool = False) -> None:
        """End the stream: behind what the client has yet to get, or at once."""
        self._is_ending = True
        if at_once:
            self._pending, self._size, self._is_lagging = None, 0, False
        self._wake()

    def check(self, now: float) -> None:
        """Cut the client off when it has taken nothing for too long. `now` is by `time.monotonic`."""
        if self._since and now - self._since > STALL_S and self._abort is not None:
            self.is_closed = True
            self._abort()

    def leave(self) -> None:
        """Let go of everything: the client has left."""
        self.is_closed = True
        self._pending = None
        if self._pump is not None:
            self._pump.cancel()

    def _add(self, frame: bytes) -> None:
        if self._pending is None:
            self._pending = []
        self._pending.append(frame)
        self._size += len(frame)

    def _wake(self) -> None:
        if self._pump is None and not self.is_closed:
            self._pump = asyncio.get_running_loop().create_task(self._run(), name="stream")

    async def _run(self) -> None:
        """Send until there is nothing more to send."""
        try:
            while not self.is_closed:
                if self._is_lagging:
                    await self._catch_up()
                elif self._pending:
                    body, self._sent = b"".join(self._pending), self._position
                    self._pending, self._size = None, 0
                    await self._write(body)
                else:
                    break
            if self._is_ending:
                await self._close()
        except LoopwrightError as exc:
            _log.info("stream_ended", run=self.channel.run_id, problem=str(exc))
            await self._close()
        finally:
            self._pump = None

    async def _close(self) -> None:
        if not self.is_closed:
            self.is_closed = True
            await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _catch_up(self) -> None:
        """Read from the journal until the channel has nothing that the client lacks."""
        while self._is_lagging and not self.is_closed:
            page = await self.channel.read(self._sent)
            for stored in page:
                await self._write(frame_of(stored))
                self._position = self._sent = parse_event_id(stored.id)
                if isinstance(stored.event, _FINAL):
                    self._is_lagging, self._is_ending = False, True
                    return
                if not self._is_lagging or self.is_closed:
                    return
            if not page and self.channel.holds(self._sent):
                self._is_lagging = False

    async def _write(self, body: bytes) -> None:
        self._since = time.monotonic()
        await self._send({"type": "http.response.body", "body": body, "more_body": True})
        self._since = 0.0


class Channel:
    """The events of one run, from the journal to all streams that watch it.

    Args:
        run_id: The run.
        journal: Followed by one follower, however many streams there are.
        live: Where transient events come from.
    """

    def __init__(self, run_id: str, journal: Journal, live: LiveFeed) -> None:
        self.run_id = run_id
        self.streams: set[Stream] = set()
        self._journal = journal
        self._live = live
        self._position: Position = (0, 0)
        self._task: asyncio.Task[None] | None = None
        self._mute: Callable[[], None] | None = None

    def add(self, stream: Stream) -> None:
        """Let a stream watch."""
        self.streams.add(stream)
        if stream.wants_deltas and self._mute is None:
            self._mute = self._live.subscribe(self.run_id, self._hand_on)
        stream.begin()

    def remove(self, stream: Stream) -> bool:
        """Let a stream go; return whether it was the last."""
        self.streams.discard(stream)
        stream.leave()
        if self._mute is not None and not any(each.wants_deltas for each in self.streams):
            self._mute()
            self._mute = None
        if not self.streams and self._task is not None:
            self._task.cancel()
        return not self.streams

    async def read(self, position: Position) -> list[Stored]:
        """Return some of the stored events behind a position; wait while the journal is away, up to `PATIENCE_S`."""
        patience = Patience()
        while True:
            try:
                return await self._journal.read(self.run_id, after=_id_of(position), limit=PAGE)
            except JournalUnavailable as exc:
                await patience.wait(exc)

    def holds(self, position: Position) -> bool:
        """Return whether all events behind this position come through the channel; the first to ask starts it."""
        if self._task is None or self._task.done():
            self._position = position
            self._task = asyncio.get_running_loop().create_task(self._run(), name="channel")
        return self._position <= position

    async def _run(self) -> None:
        """Hand out events until the last one, whatever the journal goes through meanwhile, up to `PATIENCE_S`."""
        patience = Patience()
        try:
            while True:
                try:
                    await self._follow(patience)
                    break
                except JournalUnavailable as exc:
                    await patience.wait(exc)
        except LoopwrightError as exc:
            _log.info("channel_ended", run=self.run_id, problem=str(exc))
        except Exception:  # the outermost border of this task: streams must not wait for ever
            _log.exception("channel_failed", run=self.run_id)
        for stream in self.streams:
            stream.end()

    async def _follow(self, patience: "Patience") -> None:
        events = self._journal.follow(self.run_id, after=_id_of(self._position))
        async with aclosing(cast(Any, events)):
            async for stored in events:
                patience.renew()
                self._hand_out(stored)

    def _hand_out(self, stored: Stored) -> None:
        frame, self._position = frame_of(stored), parse_event_id(stored.id)
        for stream in self.streams:
            stream.offer(frame, self._position)

    def _hand_on(self, kind: str, data: bytes) -> None:
        frame = b"event: " + kind.encode() + b"\ndata: " + data + b"\n\n"
        for stream in self.streams:
            if stream.wants_deltas:
                stream.offer_transient(frame)


class Patience:
    """How long the journal may be away before a stream ends: counted from the first failure behind a success."""

    def __init__(self) -> None:
        self._since = self._last = -PATIENCE_S

    def renew(self) -> None:
        """Begin anew: the journal has answered."""
        self._last = -PATIENCE_S

    async def wait(self, error: JournalUnavailable) -> None:
        """Wait a little; raise the error when it has taken too long."""
        now = time.monotonic()
        if now - self._last > PATIENCE_S:
            self._since = now
        self._last = now
        if now - self._since > PATIENCE_S:
            raise error
        await asyncio.sleep(random.uniform(0.2, 1.0))


def _id_of(position: Position) -> str:
    return "{}-{}".format(*position) if position != (0, 0) else ""
