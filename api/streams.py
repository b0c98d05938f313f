"""Live streams of events: what a request for `text/event-stream` gets, as raw ASGI.

All streams of one run share a channel (`channel.py`), so the journal is followed once and each event is encoded once.
An idle stream is a coroutine that waits for its client to leave, and nothing else: one timer keeps all connections
alive and looks at the keys that they were opened with.
"""

import asyncio
import itertools
import re
import time
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import parse_qs

import structlog
from starlette.types import Receive, Scope, Send

from ..errors import JournalUnavailable, RequestInvalid
from ..memory.journal.contract import RunRecord
from ..memory.journal.ids import parse_event_id
from .auth import check_scope, is_alive
from .caller import Caller
from .channel import Channel, Position, Stream
from .deps import CALLER_KEY, REQUEST_ID_KEY
from .ownership import own_record

if TYPE_CHECKING:
    from .service import Service

_log = structlog.get_logger(__name__)

KEEP_ALIVE_S = 15
"""Seconds between two comments that keep a connection alive."""

KEY_CHECK_S = 2
"""Seconds between two looks at the keys that streams were opened with."""

ABORT_KEY = "loopwright.abort"
"""Where our server leaves a function that drops the connection at once, in the ASGI scope."""

_PATH = re.compile(r"/v1/runs/([^/]+)/events")
_EVENT_ID = re.compile(r"[0-9]{1,18}(-[0-9]{1,18})?")
_KEEP_ALIVE = b": still here\n\n"
_START = (
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),
    (b"x-content-type-options", b"nosniff"),
)


class Opened(NamedTuple):
    """What a stream begins with: the run, the event behind which it begins, and whether it tells transient events."""

    run_id: str
    position: Position
    wants_deltas: bool


class EventStreams:
    """Serves all live streams of a process. An instance belongs to one event loop."""

    def __init__(self, service: "Service") -> None:
        self._service = service
        self._channels: dict[str, Channel] = {}
        self._wheel: list[set[Stream]] = [set() for _ in range(KEEP_ALIVE_S)]
        self._hand = 0
        self._keys: Counter[str] = Counter()
        self._timer: asyncio.Task[None] | None = None
        self._is_stopped = False

    @property
    def count(self) -> int:
        """Streams that are open."""
        return self._keys.total()

    def wants(self, scope: Scope) -> bool:
        """Return whether a request asks for a live stream."""
        if scope["method"] != "GET" or not _PATH.fullmatch(scope["path"]):
            return False
        return any(name == b"accept" and b"text/event-stream" in value.lower() for name, value in scope["headers"])

    async def open(self, scope: Scope) -> Opened:
        """Check a request before its stream begins.

        Raises:
            ScopeMissing, RunNotFound: The caller may not see the run, or there is none.
            RequestInvalid: The place to resume from is no event id.
        """
        caller: Caller = scope[CALLER_KEY]
        check_scope(caller, "read")
        found = _PATH.fullmatch(scope["path"])
        record = await own_record(self._service, caller, found[1] if found else "")
        query = parse_qs(scope["query_string"].decode("latin-1"))
        after = _last_event_id(scope) or query.get("after", [""])[-1]
        position: Position = (0, 0)
        if after:
            if not _EVENT_ID.fullmatch(after):
                raise RequestInvalid(["after: should be the id of an event, such as 1798761600000-0"])
            position = parse_event_id(after)
            if position[0] > record.updated_ms:
                position = min(position, await self._last_position(record))
        return Opened(record.run_id, position, query.get("deltas", [""])[-1] in ("true", "1"))

    async def serve(self, scope: Scope, opened: Opened, receive: Receive, send: Send) -> None:
        """Stream until the run has ended, the key is gone, the server stops or the client leaves."""
        run_id, position, wants_deltas = opened
        await send(
            {
                "type": "http.response.start",
                "status": 200,
                "headers": [*_START, (b"x-request-id", scope[REQUEST_ID_KEY].encode())],
            }
        )
        channel = self._channels.get(run_id)
        if channel is None:
            store = self._service.store
            channel = self._channels[run_id] = Channel(run_id, store.journal, store.live)
        stream = Stream(channel, scope[CALLER_KEY].key_id, position, wants_deltas, send, scope.get(ABORT_KEY))
        spokes = self._enter(stream)
        try:
            while (await receive())["type"] != "http.disconnect":
                pass
        finally:
            self._leave(stream, spokes)

    def stop(self) -> None:
        """End all streams, cleanly and at once: clients resume elsewhere."""
        self._is_stopped = True
        for stream in self._all():
            stream.end(at_once=True)
        if self._timer is not None:
            self._timer.cancel()

    async def _last_position(self, record: RunRecord) -> Position:
        """Return the id of the newest event. Ids may be a millisecond ahead of the record."""
        since = f"{max(0, record.updated_ms - 1000)}-0"
        found = await self._service.store.journal.read(record.run_id, after=since)
        return parse_event_id(found[-1].id) if found else (record.updated_ms, 0)

    def _enter(self, stream: Stream) -> set[Stream]:
        spokes = self._wheel[self._hand - 1]
        spokes.add(stream)
        self._keys[stream.key_id] += 1
        stream.channel.add(stream)
        if self._is_stopped:
            stream.end(at_once=True)
        elif self._timer is None or self._timer.done():
            self._timer = asyncio.get_running_loop().create_task(self._run(), name="streams")
        return spokes

    def _leave(self, stream: Stream, spokes: set[Stream]) -> None:
        spokes.discard(stream)
        self._keys[stream.key_id] -= 1
        if not self._keys[stream.key_id]:
            del self._keys[stream.key_id]
        if stream.channel.remove(stream) and self._channels.get(stream.channel.run_id) is stream.channel:
            del self._channels[stream.channel.run_id]

    def _all(self) -> list[Stream]:
        return [stream for spokes in self._wheel for stream in spokes]

    async def _run(self) -> None:
        """Each second, send a comment to a fifteenth of the streams; now and then look at their keys."""
        for second in itertools.count():
            await asyncio.sleep(1)
            self._hand = (self._hand + 1) % KEEP_ALIVE_S
            now = time.monotonic()
            for stream in self._wheel[self._hand]:
                stream.check(now)
                stream.offer_transient(_KEEP_ALIVE)
            if second % KEY_CHECK_S == 0:
                await self._check_keys()

    async def _check_keys(self) -> None:
        for key_id in tuple(self._keys):
            try:
                if await is_alive(key_id, self._service):
                    continue
            except JournalUnavailable:
                continue
            except Exception:  # the timer must live as long as there are streams
                _log.exception("key_check_failed")
                continue
            for stream in self._all():
                if stream.key_id == key_id:
                    stream.end(at_once=True)


def _last_event_id(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == b"last-event-id":
            return str(value, "latin-1").strip()
    return ""
