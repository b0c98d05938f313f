"""Calls of tools with a `queue`: made by other workers, while the run sleeps and its slot is free.

    register ─► intent, durable ─► send … the run waits … look ─► result, sent again, or in doubt

A call is registered before its intent is journaled and sent after it. So a call with an intent and no registration
cannot be told from one that was made, and is treated as such; one that was registered and never started may be sent
again whatever its effect, because an attempt is started at most once.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

from ..memory.journal.contract import Lease
from ..tools.execute import Outcome

if TYPE_CHECKING:
    from ..tools.tool import Tool
    from .calls import CallRunner, Prepared
    from .loop import RunLoop


class RemoteCall(NamedTuple):
    """One attempt of a call as a tool worker is told of it.

    `arguments` are the bytes of the decision, or of the person who edited them; `left_ms` is the time that the run has
    left, `None` without a deadline.
    """

    call_id: str
    attempt: int
    queue: str
    tenant: str
    agent: str
    agent_hash: str
    tool: str
    arguments: str
    key: str
    depth: int
    left_ms: int | None


@dataclass(frozen=True, slots=True)
class Away:
    """Where a call is.

    Attributes:
        state: `sent`: nobody has started it. `overdue`: so for so long that it may have been lost on the way.
            `started`: a tool worker makes it. `lost`: the tool worker has fallen silent. `done`: `outcome` is here.
        attempt: The attempt that this is said of.
        check_in_s: Seconds after which somebody should look again.
        outcome: What came of it.
    """

    state: Literal["sent", "overdue", "started", "lost", "done"]
    attempt: int
    check_in_s: float = 0.0
    outcome: Outcome | None = None


class RemoteTools(Protocol):
    """Sends calls to other workers. Methods raise Fenced when the lease is superseded, and JournalUnavailable."""

    async def register(self, lease: Lease, calls: Sequence[RemoteCall]) -> None:
        """Note attempts that are about to be sent; nobody can start them before."""
        ...

    async def send(self, lease: Lease, calls: Sequence[RemoteCall]) -> None:
        """Send a message for each. It may get lost; sending it again is harmless."""
        ...

    async def look(self, lease: Lease, call_ids: Sequence[str]) -> Mapping[str, Away]:
        """Return where these calls are, as far as they are registered; all others of the run are forgotten."""
        ...

    async def forget(self, lease: Lease) -> None:
        """Forget the calls of a run, once the journal has their results."""
        ...


class Sending(NamedTuple):
    """An attempt that has to be sent."""

    prepared: "Prepared"
    attempt: int

    @property
    def needs_intent(self) -> bool:
        """Whether the journal does not yet say that this attempt is made."""
        before = self.prepared.open.intended
        return self.prepared.tool.effect != "read" and (before is None or before.attempt != self.attempt)


class RemoteRunner:
    """The remote calls of one run, for `CallRunner`.

    Attributes:
        checks: Seconds after which somebody should look at a call that is under way, though nothing came; by call id.
    """

    def __init__(self, loop: "RunLoop", runner: "CallRunner") -> None:
        self.checks: dict[str, float] = {}
        self._loop = loop
        self._runner = runner

    def is_remote(self, tool: "Tool[..., Any]") -> bool:
        """Return whether a tool's calls are made by other workers."""
        return tool.queue is not None and self._loop.around.remote is not None

    async def collect(self, calls: Sequence["Prepared"]) -> list[Sending]:
        """Append what has come of these calls; return what has to be sent (again), registered.

        Calls of which nobody can know any more what became of them are settled or in doubt afterwards.
        """
        away = await self._look(calls)
        sendings = []
        for each in calls:
            attempt = await self._attempt(each, away.get(each.open.call.id))
            if attempt:
                sendings.append(Sending(each, attempt))
        if sendings:
            await self._tools.register(self._loop.lease, [self._told(each) for each in sendings])
        return sendings

    async def send(self, sendings: Sequence[Sending]) -> None:
        """Send registered calls whose intents are durable."""
        await self._tools.send(self._loop.lease, [self._told(each) for each in sendings])

    async def wait_for(self, calls: Sequence["Prepared"]) -> None:
        """Append what came of these calls meanwhile, and note in `checks` which are still under way."""
        left = [each for each in calls if self._is_open(each)]
        away = await self._look(left) if left else {}
        for each in left:
            found = away.get(each.open.call.id)
            if found and found.outcome:
                await self._runner.conclude(each, found.outcome)
            else:
                self.checks[each.open.call.id] = found.check_in_s if found else 0.0
        if not self.checks and not self._doubtful():
            await self._loop.checkpoint(durable=True)
            await self._tools.forget(self._loop.lease)

    async def collect_late(self, calls: Sequence["Prepared"]) -> bool:
        """Append results of calls that were given up as doubtful; return whether there were any."""
        away = await self._look(calls)
        came = False
        for each in calls:
            found = away.get(each.open.call.id)
            if found and found.outcome and not found.outcome.unknown:
                await self._runner.conclude(each, found.outcome)
                came = True
        return came

    @property
    def _tools(self) -> RemoteTools:
        tools = self._loop.around.remote
        assert tools is not None
        return tools

    async def _look(self, calls: Sequence["Prepared"]) -> Mapping[str, Away]:
        """Ask where calls are. Results of calls that are not asked about are forgotten: they must be stored by now."""
        await self._loop.checkpoint(durable=True)
        call_ids = dict.fromkeys([*(each.open.call.id for each in calls), *self._doubtful()])
        return await self._tools.look(self._loop.lease, tuple(call_ids))

    async def _attempt(self, each: "Prepared", away: Away | None) -> int:
        """Carry a call on as far as that is possible here; return the attempt that has to be sent, or 0."""
        intended = each.open.intended
        if away is None:
            before = intended.attempt if intended else 0
            return before + 1 if await self._is_unmade(each) else 0
        if away.outcome is not None:
            await self._runner.conclude(each, away.outcome)
            return 0
        if away.state == "lost":
            return away.attempt + 1 if await self._may_repeat(each, away.attempt) else 0
        must_go = away.state == "overdue" or (away.state == "sent" and Sending(each, away.attempt).needs_intent)
        return away.attempt if must_go else 0

    async def _is_unmade(self, each: "Prepared") -> bool:
        """Return whether a call that is not registered may be sent; a `once` call with an intent may have been made."""
        if each.tool.effect != "once" or each.open.intended is None:
            return True
        return await self._runner.reconcile(each, "what is known of the call was lost before its result was stored")

    async def _may_repeat(self, each: "Prepared", attempts: int) -> bool:
        """Return whether a call whose tool worker fell silent is to be made again."""
        if each.tool.effect == "once":
            return await self._runner.reconcile(each, "the tool's worker ended before the result was stored")
        if attempts < self._loop.around.max_losses:
            return True
        text = f"tool {each.tool.name!r} failed: its worker ended {attempts} times while it ran"
        await self._runner.conclude(each, Outcome(text, "worker_lost", len(text)))
        return False

    def _told(self, sending: Sending) -> RemoteCall:
        each, created = sending.prepared, self._loop.state.created
        left_s = self._loop.seconds_left()
        return RemoteCall(
            each.open.call.id, sending.attempt, each.tool.queue or "", created.tenant, created.agent,
            created.agent_hash, each.tool.name, each.open.call.arguments, self._runner.key_of(each.open.call.id),
            created.depth, None if left_s is None else max(0, int(left_s * 1000)),
        )  # fmt: skip

    def _is_open(self, each: "Prepared") -> bool:
        return any(
            now.call.id == each.open.call.id and not now.finished and not now.in_doubt for now in self._loop.state.open
        )

    def _doubtful(self) -> list[str]:
        return [each.call.id for each in self._loop.state.open if each.in_doubt and not each.finished]
