"""What is happening right now and nobody keeps: pieces of text as the model writes them, progress of tools.

Redis pub/sub, one channel a run: `{sNN}:live:<run>`. A message is its kind, a space, and JSON. Nothing waits for it and
nothing is lost with it: the journal has the whole step. A process publishes in one pipeline per tick, and listens on
one connection, whatever the number of runs.
"""

import asyncio
import contextlib
import random
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, Literal, cast

from pydantic_core import from_json, to_json
from redis.asyncio import Redis
from redis.exceptions import RedisError

from .journal.ids import shard_of
from .journal.wire import make_pool

LiveKind = Literal["delta", "progress"]
"""`delta`: text of the model, as it comes. `progress`: where a tool stands."""

Sink = Callable[[str, bytes], None]
"""Takes the kind and the JSON of what happened, on the event loop; must not block or raise."""

TICK_S = 0.02
"""How long text is gathered before it is published, in seconds."""

MUTE_S = 1.0
"""For how long nothing is published of a run that nobody listens to, in seconds."""

MAX_PIECES = 256
"""Most messages of one run that wait for one tick; further ones are dropped."""

_PING_S = 10.0
_DEAF_S = 25.0
"""The connection that listens is opened anew when the server was silent for so long, pings and all."""

_TIMEOUT_S = 4.0


class LiveFeed:
    """Publishes and hears transient events.

    An instance belongs to the event loop of its first call.

    Args:
        client: Publishes; its address is also where the feed listens.
    """

    def __init__(self, client: Redis) -> None:
        self._client = client
        self._pending: dict[str, list[tuple[str, dict[str, Any], list[str]]]] = {}
        self._muted: dict[str, float] = {}
        self._sending: asyncio.Task[None] | None = None
        self._ear = _Ear(client)

    def publish(self, run_id: str, kind: LiveKind, data: Mapping[str, Any]) -> None:
        """Tell whoever listens to the run, soon. Never waits, never fails.

        Text (`data["text"]`) of neighbouring messages that are otherwise equal is joined.
        """
        if self._muted and self._muted.get(run_id, 0.0) > time.monotonic():
            return
        rest = dict(data)
        text = rest.pop("text", None)
        texts = [] if text is None else [text]
        waiting = self._pending.setdefault(run_id, [])
        if waiting and texts and waiting[-1][2] and waiting[-1][:2] == (kind, rest):
            waiting[-1][2].append(texts[0])
        elif len(waiting) < MAX_PIECES:
            waiting.append((kind, rest, texts))
        if self._sending is None or self._sending.done():
            self._sending = asyncio.get_running_loop().create_task(self._send(), name="live-publish")

    def subscribe(self, run_id: str, sink: Sink) -> Callable[[], None]:
        """Call `sink` with what happens in the run from about now on; return what ends that.

        Raises:
            RunNotFound: The text is no run id.
        """
        return self._ear.add(_channel(run_id), sink)

    async def listen(self, run_id: str) -> AsyncIterator[tuple[str, dict[str, Any]]]:
        """Yield the kind and the data of what happens in the run, until the caller stops; the oldest give way."""
        heard: deque[tuple[str, bytes]] = deque(maxlen=MAX_PIECES)
        news = asyncio.Event()

        def take(kind: str, data: bytes) -> None:
            heard.append((kind, data))
            news.set()

        leave = self.subscribe(run_id, take)
        try:
            while True:
                await news.wait()
                news.clear()
                while heard:
                    kind, data = heard.popleft()
                    yield kind, from_json(data)
        finally:
            leave()

    async def aclose(self) -> None:
        """Stop publishing and listening."""
        if self._sending is not None:
            self._sending.cancel()
            await asyncio.gather(self._sending, return_exceptions=True)
        await self._ear.aclose()

    async def _send(self) -> None:
        """Publish what was gathered, tick by tick, until there is nothing more."""
        await asyncio.sleep(TICK_S)
        while self._pending:
            pending, self._pending = self._pending, {}
            runs: list[str] = []
            pipe = self._client.pipeline(transaction=False)
            for run_id, pieces in pending.items():
                channel = _channel(run_id)
                for kind, rest, texts in pieces:
                    data = {**rest, "text": "".join(texts)} if texts else rest
                    pipe.publish(channel, kind.encode() + b" " + to_json(data))
                    runs.append(run_id)
            with contextlib.suppress(RedisError, OSError):
                self._mute(runs, await pipe.execute(raise_on_error=False))
            await asyncio.sleep(TICK_S)

    def _mute(self, runs: list[str], listeners: list[Any]) -> None:
        now = time.monotonic()
        self._muted = {run_id: until for run_id, until in self._muted.items() if until > now}
        for run_id, count in zip(runs, listeners, strict=True):
            if count == 0:
                self._muted[run_id] = now + MUTE_S


class _Ear:
    """One subscribed connection for all listeners of a process; opened at the first, and again when it breaks."""

    def __init__(self, client: Redis) -> None:
        self._client = client
        self._sinks: dict[bytes, list[Sink]] = {}
        self._known: set[bytes] = set()
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def add(self, channel: str, sink: Sink) -> Callable[[], None]:
        name = channel.encode()
        self._sinks.setdefault(name, []).append(sink)
        self._changed.set()
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._run(), name="live-listen")

        def leave() -> None:
            sinks = self._sinks.get(name, [])
            if sink in sinks:
                sinks.remove(sink)
            if not sinks and self._sinks.pop(name, None) is not None:
                self._changed.set()

        return leave

    async def aclose(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        pool = make_pool(self._client, _DEAF_S)
        while True:
            connection = cast(Any, pool).make_connection()
            try:
                await connection.connect()
                self._known = set()
                self._changed.set()
                await _first_of(self._hear(connection), self._tell(connection))
            except (RedisError, OSError):
                pass
            finally:
                await connection.disconnect(nowait=True)
            await asyncio.sleep(random.uniform(0.1, 0.5))

    async def _tell(self, connection: Any) -> None:
        """Subscribe to what is wanted and leave what is not; between times make the server say something."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_PING_S):
                    await self._changed.wait()
            self._changed.clear()
            wanted = set(self._sinks)
            new, old = wanted - self._known, self._known - wanted
            self._known = wanted
            commands = [(name, *channels) for name, channels in (("SUBSCRIBE", new), ("UNSUBSCRIBE", old)) if channels]
            async with asyncio.timeout(_TIMEOUT_S):
                await connection.send_packed_command(connection.pack_commands(commands or [("PING",)]))
            await asyncio.sleep(0.005)  # who comes meanwhile shares the next command

    async def _hear(self, connection: Any) -> None:
        while True:
            reply = await connection.read_response(disable_decoding=True)
            if isinstance(reply, list) and len(reply) == 3 and reply[0] == b"message":
                kind, _, data = reply[2].partition(b" ")
                for sink in tuple(self._sinks.get(reply[1], ())):
                    sink(kind.decode(), data)


async def _first_of(*works: Any) -> None:
    """Run works at the same time until one ends; end the others, and raise what it raised."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _channel(run_id: str) -> str:
    return f"{{s{shard_of(run_id):02d}}}:live:{run_id}"
