"""All of Celery that we use: the app with its options, its Celery tasks, and a worker embedded in our process.

Celery carries wake-ups and nothing else. A message is taken, acknowledged at once, and forgotten: no results, no
retries, no countdowns, no remote control, no gossip, no un-acknowledged messages in Redis. What a lost message would
cost is paid by the sweeper. What each option is there for stands in docs/workers.md.
"""

import inspect
import os
import signal
import socket
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from importlib.metadata import version
from typing import Any, Literal
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

from celery import Celery, signals
from celery.app.trace import setup_worker_optimizations
from celery.worker import state as worker_state
from kombu.entity import Exchange, Queue

from ..errors import SettingsInvalid
from .doorbell import ECHO, TOOL, WAKE

PoolName = Literal["asyncio", "prefork", "threads", "solo"]

OLDEST = {"celery": (5, 7), "kombu": (5, 7)}
"""Versions below these lose wake-ups or stay deaf after Redis was away."""

HEALTH_CHECK_S = 5
"""How often the connection that waits for messages is checked, in seconds: half-open, it is dropped within eleven."""

SOCKET_TIMEOUT_S = 10
"""How long connecting and other commands of Celery may take, in seconds."""


class App(Celery):  # type: ignore[misc]
    """A Celery app whose broker is the one it was made with, whatever `CELERY_BROKER_URL` says."""

    redis_url = ""

    def connection_for_read(self, url: str | None = None, **options: Any) -> Any:
        """Connect to our Redis."""
        return super().connection_for_read(self.redis_url, **options)

    connection_for_write = connection_for_read


def make_app(
    redis_url: str,
    queues: Sequence[str],
    *,
    wake: Callable[[str], Awaitable[None]] | None = None,
    tool: Callable[[Any], Awaitable[None] | None] | None = None,
) -> App:
    """Return the Celery app of a worker.

    Args:
        redis_url: As redis-py takes it: `redis://`, `rediss://` or `unix://`.
        queues: What the worker takes messages from, in turns.
        wake: Looks at a run; runs on the pool's event loop.
        tool: Executes a call of a tool: a coroutine function on the pool's loop, or a plain function in its child.

    Raises:
        SettingsInvalid: Celery or kombu is too old, or the URL is none.
    """
    check_versions()
    app = App("loopwright", set_as_current=False, fixups=[])
    app.redis_url = broker_url(redis_url)
    app.conf.update(_OPTIONS, task_queues=[_queue(name) for name in queues], task_default_queue=queues[0])
    signals.setup_logging.connect(_keep_logging)
    if wake is not None:
        _add_wake(app, wake)
    if tool is not None:
        _add_tool(app, tool)
    app.task(name=ECHO, shared=False)(_hear if tool is None or inspect.iscoroutinefunction(tool) else _hear_elsewhere)
    app.finalize()
    return app


def _add_wake(app: App, look: Callable[[str], Awaitable[None]]) -> None:
    async def wake(run_id: str) -> None:
        await look(run_id)

    app.task(name=WAKE, shared=False)(wake)


def _add_tool(app: App, execute: Callable[[Any], Any]) -> None:
    async def tool_here(payload: Any) -> None:
        await execute(payload)

    def tool_elsewhere(payload: Any) -> None:
        execute(payload)

    app.task(name=TOOL, shared=False)(tool_here if inspect.iscoroutinefunction(execute) else tool_elsewhere)


async def _hear(token: str) -> None:
    """Nothing to do: that Celery took the message is the news; see `Messenger`."""


def _hear_elsewhere(token: str) -> None:
    """Do nothing, in a pool that calls plain functions: nobody there would await a coroutine."""


def _keep_logging(**_: Any) -> None:
    """Be connected: then Celery leaves logging and standard output as they are."""


def _queue(name: str) -> Any:
    """Return a queue that is a plain Redis list: without an exchange of its own, nothing has to be declared."""
    return _Queue(name, _Exchange(""), routing_key=name, no_declare=True)


_Queue: Any = Queue
_Exchange: Any = Exchange
_OPTIONS: dict[str, Any] = {
    "accept_content": ["json"],
    "task_serializer": "json",
    "task_ignore_result": True,
    "task_acks_late": False,
    "task_create_missing_queues": False,
    "worker_prefetch_multiplier": 1,
    "worker_disable_prefetch": True,
    "worker_enable_prefetch_count_reduction": False,
    "worker_cancel_long_running_tasks_on_connection_loss": True,
    "worker_detect_quorum_queues": False,
    "worker_enable_remote_control": False,
    "worker_lost_wait": 1.0,
    "worker_hijack_root_logger": False,
    "worker_redirect_stdouts": False,
    "broker_connection_retry": True,
    "broker_connection_retry_on_startup": True,
    "broker_connection_max_retries": None,
    "broker_channel_error_retry": True,
    "broker_connection_timeout": SOCKET_TIMEOUT_S,
    "broker_transport_options": {
        "ack_emulation": False,
        "priority_steps": [0],
        "queue_order_strategy": "round_robin",
        "health_check_interval": HEALTH_CHECK_S,
        "socket_timeout": SOCKET_TIMEOUT_S,
        "socket_connect_timeout": SOCKET_TIMEOUT_S,
        "socket_keepalive": True,
    },
}


class Messenger:
    """Celery's worker, embedded: takes messages in the main thread and gives them to a pool.

    Args:
        app: Has the queues and the Celery tasks.
        name: The worker's id.
        pool: A pool class or one of Celery's names for one.
        slots: How many messages may be at work; as long as so many are, none is taken.
        on_ready: Called in the main thread when messages are taken; again after each reconnection it is not.
        on_echo: Called in the main thread with the token of an echo that was taken.
    """

    def __init__(
        self,
        app: App,
        *,
        name: str,
        pool: Any,
        slots: int,
        on_ready: Callable[[], None],
        on_echo: Callable[[str], None],
    ) -> None:
        self._slots = slots
        self._on_echo = on_echo
        signals.task_received.connect(self._received, weak=False)
        if pool in ("threads", "solo"):  # their tracer looks for the current app; a child of prefork sets its own
            setup_worker_optimizations(app, name)
        self._worker = app.WorkController(
            hostname=name, pool=pool, concurrency=slots, loglevel="WARNING", optimization="fair",
            ready_callback=lambda _consumer: on_ready(), without_gossip=True, without_mingle=True,
            without_heartbeat=True, task_events=False,
        )  # fmt: skip

    @property
    def busy(self) -> int:
        """How many messages are at work."""
        return len(worker_state.reserved_requests)

    def run(self) -> int:
        """Take messages until `stop`; return the exit code."""
        self._worker.start()
        return self._worker.exitcode or 0

    def take_no_more(self) -> None:
        """Stop taking messages, and put one that is just arriving back. May be called from any thread."""
        self._in_hub(self._cancel)

    def stop(self) -> None:
        """Let `run` return. May be called from any thread, also while Redis is away."""
        worker_state.should_stop = 0
        self._in_hub(lambda: None)

    def kill_children(self) -> None:
        """Kill the processes of a prefork pool: Celery's own way takes seconds, and waits for what they do."""
        processes = getattr(getattr(self._worker.pool, "_pool", None), "_pool", None) or ()
        for each in list(processes):
            with suppress(OSError):
                os.kill(each.pid, signal.SIGKILL)

    def call_repeatedly(self, every_s: float, call: Callable[[], None]) -> None:
        """Call something in the main thread every so often. Only from there, once messages are taken."""
        self._worker.hub.call_repeatedly(every_s, call)

    def _cancel(self) -> None:
        consumer = getattr(self._worker.consumer, "task_consumer", None)
        if consumer is not None:
            consumer.cancel()

    def _in_hub(self, call: Callable[[], None]) -> None:
        hub = getattr(self._worker, "hub", None)
        if hub is not None:
            hub.call_soon(call)

    def _received(self, request: Any = None, **_: Any) -> None:
        if request is not None and request.name == ECHO:
            self._on_echo(str(request.args[0]))


def broker_url(redis_url: str) -> str:
    """Return the URL for kombu that leads where a URL for redis-py leads.

    Raises:
        SettingsInvalid: It is no `redis://`, `rediss://` or `unix://` URL.
    """
    parts = urlsplit(redis_url)
    options = dict(parse_qsl(parts.query))
    if parts.scheme == "unix":
        user = options.get("username", unquote(parts.username or ""))
        password = options.get("password", unquote(parts.password or ""))
        login = f"{quote(user, safe='')}:{quote(password, safe='')}@" if user or password else ""
        return f"redis+socket://{login}{parts.path}?virtual_host={options.get('db', '0')}"
    if parts.scheme not in ("redis", "rediss"):
        raise SettingsInvalid("redis_url", f"workers take redis://, rediss:// and unix:// URLs, not {parts.scheme}://")
    database = options.get("db") or parts.path.strip("/") or "0"
    kept = {name: value for name, value in options.items() if name.startswith("ssl_")}
    if parts.scheme == "rediss":
        kept.setdefault("ssl_cert_reqs", "required")
    query = f"?{urlencode(kept)}" if kept else ""
    return f"{parts.scheme}://{parts.netloc}/{database}{query}"


def check_versions(found: Callable[[str], str] = version) -> None:
    """Refuse versions of Celery and kombu with which a worker may stay deaf.

    Raises:
        SettingsInvalid: Says which and what to install.
    """
    for name, oldest in OLDEST.items():
        have = found(name)
        if tuple(int(part) for part in have.split(".")[:2]) < oldest:
            wanted = ".".join(map(str, oldest))
            raise SettingsInvalid(name, f"version {have} is too old: pip install '{name}>={wanted}'")


def worker_name() -> str:
    """Return an id for this process that no other has: host, process id and a few random digits."""
    host = "".join(each if each.isalnum() or each in "-." else "-" for each in socket.gethostname())
    return f"{host or 'worker'}-{os.getpid()}-{os.urandom(3).hex()}"
