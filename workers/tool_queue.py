"""Queued tools: how a run's worker sends a call away, and how a tool worker makes it.

    QueuedTools (run's worker)  ── message: run, call, attempt ──►  ToolBench (tool worker)
                                                                      start ─► execute, with a beat a second ─► deposit

The message only says where to look; what is to be done comes from Redis with `start`, which only the first of all
copies of a message gets. Everything here may die at any moment: the run's worker then goes by the tool's effect.
"""

import asyncio
import os
import secrets
import threading
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar

import structlog
from pydantic import TypeAdapter

from ..agents.resources import ResourcePool
from ..errors import ForModel, LoopwrightError, ResourcesFailed
from ..memory.journal.contract import Durability, Lease
from ..memory.journal.remote import Registered, RemoteCalls, Started, Whereabouts
from ..planner.remote import Away, RemoteCall
from ..tools.context import Context
from ..tools.execute import Outcome, execute
from ..tools.threads import pool

if TYPE_CHECKING:
    from ..agents.agent import Agent
    from ..agents.registry import Registry
    from ..tools.tool import Tool

BEAT_S = 1.0
"""Seconds between two signs of life of a tool worker; so long it takes to notice that a run was cancelled."""

RESEND_S = 30.0
"""Seconds after which a call that nobody has started is sent again for the first time; doubled each time."""

LONGEST_RESEND_S = 600.0
"""Longest time between two messages about one call."""

PATIENCE_S = 60.0
"""Seconds for which a tool worker tries to take a call, or to leave its result, while Redis is away."""

T = TypeVar("T")

_log = structlog.get_logger(__name__)


class Bell(Protocol):
    """What is needed of a `Doorbell`."""

    async def ring(self, run_id: str, priority: str = "normal") -> None:
        """Wake a worker for a run."""
        ...

    async def ring_tool(self, name: str, payload: Mapping[str, Any] | str) -> None:
        """Send a message to the tool workers of a queue."""
        ...


class QueuedTools:
    """The planner's `RemoteTools`, through queues.

    Args:
        calls: Where calls are registered.
        doorbell: Sends the messages.
        resend_s: Seconds after which a call that nobody has started is sent again for the first time.
    """

    def __init__(self, calls: RemoteCalls, doorbell: Bell, *, resend_s: float = RESEND_S) -> None:
        self._calls = calls
        self._doorbell = doorbell
        self._resend_s = resend_s

    async def register(self, lease: Lease, calls: Sequence[RemoteCall]) -> None:
        """Note attempts that are about to be sent."""
        await self._calls.register(
            lease,
            [Registered(each.call_id, each.attempt, _TOLD.dump_json(each).decode(), each.left_ms) for each in calls],
        )

    async def send(self, lease: Lease, calls: Sequence[RemoteCall]) -> None:
        """Send a message for each."""
        for each in calls:
            message = {"run": lease.run_id, "call": each.call_id, "attempt": each.attempt}
            await self._doorbell.ring_tool(each.queue, message)

    async def look(self, lease: Lease, call_ids: Sequence[str]) -> dict[str, Away]:
        """Return where these calls are."""
        found = await self._calls.look(lease, call_ids)
        return {call_id: self._away(place) for call_id, place in found.items()}

    async def forget(self, lease: Lease) -> None:
        """Forget the calls of a run."""
        await self._calls.forget(lease)

    def _away(self, place: Whereabouts) -> Away:
        if place.state == "done":
            return Away("done", place.attempt, outcome=Outcome(*_OUTCOME.validate_json(place.outcome)))
        if place.state == "started":
            left_s = place.alive_ms / 1000
            return Away("started" if left_s > 0 else "lost", place.attempt, max(left_s, 0.0) + BEAT_S)
        left_s = min(self._resend_s * 2 ** min(place.sends - 1, 16), LONGEST_RESEND_S) - place.since_ms / 1000
        return Away("sent" if left_s > 0 else "overdue", place.attempt, max(left_s, 0.0) + BEAT_S)


class _Deposit(NamedTuple):
    """An `Outcome` on its way: no tokens are spent on a tool worker."""

    text: str
    error: str | None
    size: int
    attempts: int
    latency_ms: int
    unknown: bool


class _Message(NamedTuple):
    """What a message says."""

    run: str
    call: str
    attempt: int


_TOLD: TypeAdapter[RemoteCall] = TypeAdapter(RemoteCall)
_OUTCOME: TypeAdapter[_Deposit] = TypeAdapter(_Deposit)
_MESSAGE: TypeAdapter[_Message] = TypeAdapter(_Message)


class ToolBench:
    """Makes queued calls in this process. Belongs to one event loop.

    Args:
        calls: Where calls are registered.
        registry: The agents whose tools may be called.
        doorbell: Wakes the workers of runs whose results are there.
        lease_s: Seconds that this process may be silent before a call counts as interrupted.
        beat_s: Seconds between two signs of life.
    """

    def __init__(
        self,
        calls: RemoteCalls,
        registry: "Registry",
        doorbell: Bell,
        *,
        lease_s: float = 15.0,
        beat_s: float = BEAT_S,
    ) -> None:
        self._calls = calls
        self._registry = registry
        self._doorbell = doorbell
        self._lease_s = lease_s
        self._beat_s = min(beat_s, lease_s / 3)
        self._resources = ResourcePool()

    async def run(self, payload: Any) -> None:
        """Make the call that a message speaks of, unless another one has; leave what came of it.

        Never raises but for cancellation: what goes wrong is logged, and the run's worker notices the silence.
        """
        try:
            message = _MESSAGE.validate_python(payload)
            token = secrets.token_hex(8)
            started = await _patiently(
                lambda: self._calls.start(message.run, message.call, message.attempt, token, ttl_s=self._lease_s)
            )
            if started is not None:
                await self._make(message, token, started)
        except Exception as exc:
            known = str(exc) if isinstance(exc, LoopwrightError) else ""
            _log.warning("queued_call_failed", kind=type(exc).__name__, problem=known)

    async def aclose(self) -> None:
        """Close the agents' resources."""
        await self._resources.aclose()

    async def _make(self, message: _Message, token: str, started: Started) -> None:
        told = _TOLD.validate_json(started.request)
        work = asyncio.ensure_future(self._execute(message, told, started.left_ms))
        try:
            goes_on = True
            while goes_on and not work.done():
                await asyncio.wait([work], timeout=self._beat_s)
                if not work.done():
                    goes_on = await self._beat(message, token)
        finally:
            if not work.done():
                work.cancel()
                await asyncio.wait([work])
        if goes_on:
            await self._deposit(message, token, work.result())

    async def _beat(self, message: _Message, token: str) -> bool:
        """Give a sign of life; return whether the call is still wanted. Redis being away is no reason to stop."""
        try:
            return await self._calls.beat(message.run, message.call, token, ttl_s=self._lease_s)
        except LoopwrightError as exc:
            _log.warning("beat_failed", run_id=message.run, call_id=message.call, problem=str(exc))
            return True

    async def _deposit(self, message: _Message, token: str, outcome: Outcome) -> None:
        left = _OUTCOME.dump_json(_deposit_of(outcome)).decode()
        priority = await _patiently(lambda: self._calls.deposit(message.run, message.call, token, left))
        if priority is not None:
            await self._doorbell.ring(message.run, priority)

    async def _execute(self, message: _Message, told: RemoteCall, left_ms: int | None) -> Outcome:
        """Validate the arguments in full and call the tool under its policy, as the run's own worker would."""
        try:
            agent, tool = self._find(told)
            arguments = tool.parse(told.arguments)
            resources = await self._resources.get(agent)
        except (ForModel, ResourcesFailed, _NotHere) as exc:
            return Outcome(str(exc), exc.code, len(str(exc)))
        context: Context[Any] = Context(
            run_id=message.run,
            call_id=message.call,
            key=told.key,
            tenant=told.tenant,
            agent=told.agent,
            resources=resources,
            deadline=None if left_ms is None else time.monotonic() + left_ms / 1000,
            attempt=told.attempt,
            depth=told.depth,
            on_read_artifact=lambda artifact_id: self._calls.artifact(message.run, artifact_id),
        )
        try:
            return await execute(tool, arguments, context)
        except LoopwrightError as exc:
            return Outcome(str(exc), exc.code, len(str(exc)), unknown=tool.effect != "read")

    def _find(self, told: RemoteCall) -> "tuple[Agent[Any], Tool[..., Any]]":
        where = f"the worker of queue {told.queue!r}"
        try:
            agent = self._registry.get(told.agent)
        except LoopwrightError:
            raise _NotHere("agent_missing", f"{where} does not know agent {told.agent!r}") from None
        if agent.hash != told.agent_hash:
            raise _NotHere("agent_changed", f"{where} has another definition of agent {told.agent!r}")
        for tool in agent.tools:
            if tool.name == told.tool:
                return agent, tool
        raise _NotHere("unknown_tool", f"{where} does not know tool {told.tool!r} of agent {told.agent!r}")


async def _patiently(ask: Callable[[], Awaitable[T]]) -> T:
    """Ask Redis something that may be asked twice, and go on asking while it is away."""
    give_up, pause_s = time.monotonic() + PATIENCE_S, 0.1
    while True:
        try:
            return await ask()
        except LoopwrightError as exc:
            if not exc.retryable or time.monotonic() > give_up:
                raise
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, 5.0)


def _deposit_of(outcome: Outcome) -> _Deposit:
    return _Deposit(
        outcome.text, outcome.error, outcome.size, outcome.attempts, outcome.latency_ms, outcome.unknown
    )  # fmt: skip


class _NotHere(Exception):
    """This process cannot make a call: what it needs is not loaded here. The call was not made."""

    def __init__(self, code: str, problem: str) -> None:
        super().__init__(f"{problem}; it has to load the same files as the other workers")
        self.code = code


class ToolRunner:
    """Makes queued calls from blocking code, such as Celery's prefork, solo and threads pools.

    Each thread that calls `run` has an event loop, a Redis client and the agents' resources of its own, made at its
    first call, so after a fork.

    Args:
        url: Leads to the Redis of the runs.
        registry: The agents whose tools may be called.
        lease_s: Seconds that this process may be silent before a call counts as interrupted.
        durability: The journal's mode.
        is_disposable: Whether the process may end itself when a blocking tool had to be abandoned, which is the only
            way to stop one. Celery's prefork pool starts another.
    """

    def __init__(
        self,
        url: str,
        registry: "Registry",
        *,
        lease_s: float = 15.0,
        durability: Durability = "everysec",
        is_disposable: bool = False,
    ) -> None:
        self._url = url
        self._registry = registry
        self._lease_s = lease_s
        self._durability = durability
        self._is_disposable = is_disposable
        self._mine = threading.local()

    def run(self, payload: Any) -> None:
        """Make the call that a message speaks of; returns when its result is left and the run's worker is rung for."""
        runner: asyncio.Runner | None = getattr(self._mine, "runner", None)
        if runner is None or self._mine.process != os.getpid():
            self._mine.process = os.getpid()
            self._mine.runner = runner = asyncio.Runner()
            self._mine.bench = runner.run(self._open())
        runner.run(self._mine.bench.run(payload))
        if self._is_disposable and pool().hung:
            os._exit(1)

    def close(self) -> None:
        """Close what the calling thread has opened."""
        runner: asyncio.Runner | None = getattr(self._mine, "runner", None)
        if runner is not None and self._mine.process == os.getpid():
            del self._mine.runner
            with suppress(LoopwrightError):
                runner.run(self._mine.bench.aclose())
            runner.close()

    async def _open(self) -> "_OwnBench":
        from ..memory.client import make_client
        from .doorbell import Doorbell

        client = make_client(self._url)
        calls, doorbell = RemoteCalls(client, durability=self._durability), Doorbell(client)
        return _OwnBench(client, doorbell, ToolBench(calls, self._registry, doorbell, lease_s=self._lease_s))


class _OwnBench:
    """A bench with a client of its own, which sends all rings before it returns."""

    def __init__(self, client: Any, doorbell: Any, bench: ToolBench) -> None:
        self._client = client
        self._doorbell = doorbell
        self._bench = bench

    async def run(self, payload: Any) -> None:
        await self._bench.run(payload)
        await self._doorbell.flush()

    async def aclose(self) -> None:
        await self._bench.aclose()
        await self._doorbell.aclose()
        await self._client.aclose()
