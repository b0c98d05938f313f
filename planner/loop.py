"""The shell around the pure planner: carries out one move after another until the run ends or waits.

    claim ─► fold ─► next_move ─► Ask / Call / Record ─► append events ─► next_move …

It owns no policy: what happens next is decided in `planner.next`, what a call may do in `planner.calls`. It
knows journals and endpoints by their contracts only.
"""

import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from ..errors import ContextTooLong, DecisionInvalid, EndpointRefused, EndpointTimedOut, StreamRunaway
from ..inference.endpoint import CompletionRequest, Delta, Endpoint, Sampling, Usage
from ..memory.journal.contract import Journal, Lease
from . import events as ev
from .approvals import needs_review
from .blueprint import Blueprint
from .budget import budget_of, seconds_left
from .calls import CallRunner
from .decision import check_side_turn, read_decision
from .keeper import LeaseKeeper
from .next import Ask, Call, Done, Move, Record, Sleep, next_move, shorten
from .reader import DecisionReader
from .state import RunState, apply
from .voting import vote

if TYPE_CHECKING:
    from ..agents.agent import Agent
    from ..agents.resources import ResourcePool
    from ..tools.context import ChildRun, Context
    from .remote import RemoteTools

Review = Callable[[ev.ToolCall], Awaitable[ev.CallReviewed | None]]


class RunChild(Protocol):
    """Runs an agent as a tool of a run: `await run_child(loop, agent, task, context)`."""

    async def __call__(self, parent: "RunLoop", agent: "Agent[Any]", task: Any, context: "Context[Any]") -> "ChildRun":
        """Return what the child run came to."""
        ...


class CancelRequested(Exception):
    """Somebody has asked for the run's end; caught where the run is driven. `reason` says why."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def tell(hook: Callable[..., None], *facts: Any) -> None:
    """Call a hook of the process; one that raises is logged and does no harm to the run."""
    try:
        hook(*facts)
    except Exception as exc:
        import structlog

        structlog.get_logger("loopwright.planner").warning("hook_failed", kind=type(exc).__name__, exc_info=True)


def wall_ms() -> int:
    """Return milliseconds since 1970."""
    return time.time_ns() // 1_000_000


@dataclass(frozen=True, slots=True)
class Prices:
    """Money for a million tokens; zero where a model costs nothing."""

    prompt: float = 0.0
    cached: float = 0.0
    completion: float = 0.0

    def cost(self, usage: Usage) -> float:
        """Return what a completion cost."""
        fresh = usage.prompt_tokens - usage.cached_tokens
        total = fresh * self.prompt + usage.cached_tokens * self.cached + usage.completion_tokens * self.completion
        return total / 1e6


@dataclass(slots=True)
class Surroundings:
    """What a run needs from its process, handed in rather than looked up.

    Attributes:
        endpoint: The model.
        journal: Where the run is written down.
        now_ms: The clock of budgets.
        prices: Price list of the endpoint.
        resources: Open resources of the process's agents.
        review: Asked in process about calls that need approval; `None` or a `None` answer lets the run wait.
        run_child: Runs an agent as a tool of this run.
        on_event: Sees every event right after it was appended. Must not raise and must not block.
        on_delta: Sees the model's text as it arrives: (step, delta). Transient, never stored.
        on_progress: Sees what tools report: (call id, text, fraction). Transient, never stored.
        lease_s: Seconds that this process may be silent before another may take its runs.
        connect: Opens the endpoint of a model that an agent used as a tool names; `None`: as the environment says.
        history: Returns what was said in a run's thread before; asked once, when the run starts.
        stop: Asked at every step boundary; a reason (`drain`, `stepped`) hands the run over to whoever comes next.
        max_losses: Workers that may die of a run in a row before it fails as poison.
        model_patience_s: Seconds for which a run waits for a model that is away, before it fails; `None`: not at all.
        follows_endpoint: Agents used as tools ask `endpoint` too, even if they name a model.
        is_abandoned: Whether this is a child run whose parent was lost to another worker.
        approval_ttl_s: Seconds after which an approval that nobody gave expires; `None`: never.
        remote: Sends calls of tools with a `queue` to the workers that listen there; `None`: they run here.
    """

    endpoint: Endpoint
    journal: Journal
    now_ms: Callable[[], int] = wall_ms
    prices: Prices | None = None
    resources: "ResourcePool | None" = None
    review: Review | None = None
    run_child: RunChild | None = None
    on_event: Callable[[ev.Event], None] | None = None
    on_delta: Callable[[int, Delta], None] | None = None
    on_progress: Callable[[str, str, float | None], None] | None = None
    lease_s: float = 15.0
    connect: Callable[[str], AbstractAsyncContextManager[Endpoint]] | None = None
    history: Callable[[RunState], Awaitable[tuple[ev.Said, ...]]] | None = None
    stop: Callable[[], str | None] | None = None
    max_losses: int = 3
    model_patience_s: float | None = None
    follows_endpoint: bool = True
    is_abandoned: Callable[[], bool] | None = None
    approval_ttl_s: float | None = None
    remote: "RemoteTools | None" = None


@dataclass(slots=True)
class Reply:
    """What the model wrote, how it stopped, and what it cost.

    Attributes:
        text: The whole reply.
        finish: Why it stopped, or `None` when the stream just ended.
        usage: Tokens of all samples together.
        prompt_tokens: Length of the prompt with this reply; 0 when the endpoint did not count.
    """

    text: str = ""
    finish: str | None = None
    usage: Usage | None = None
    prompt_tokens: int = 0


class RunLoop:
    """One run in the hands of this process.

    Args:
        blueprint: The agent.
        lease: The right to write to the run.
        state: The run so far.
        around: Endpoint, journal, clock and hooks.
    """

    def __init__(self, blueprint: Blueprint, lease: Lease, state: RunState, around: Surroundings) -> None:
        self.blueprint = blueprint
        self.lease = lease
        self.state = state
        self.around = around
        self.budget = budget_of(state.created)
        self.sampling = Sampling(temperature=blueprint.agent.temperature)
        self.keeper: LeaseKeeper | None = None
        self._calls = CallRunner(self)
        self._carry_out: dict[type, Callable[[Any], Awaitable[bool]]] = {
            Ask: self._ask,
            Call: self._call,
            Record: self._record,
            Sleep: self._sleep,
            Done: self._done,
        }

    async def drive(self) -> RunState:
        """Take moves until the run is final, waits or is handed over; every event is stored when this returns.

        Raises:
            CancelRequested: Somebody has asked for the run's end.
            EndpointUnavailable, EndpointTimedOut: The model cannot be reached; the run can be resumed later.
            Fenced: Another worker owns the run; drop it.
            JournalUnavailable: Events could not be stored.
        """
        try:
            while not self._let_go():
                move = self._next()
                if not await self._carry_out[type(move)](move):
                    break
        finally:
            await self._calls.drop_early()
        await self.checkpoint(durable=True)
        return self.state

    def _let_go(self) -> bool:
        """Hand the run over if the process wants that; only between two steps, when no call is open."""
        if self.around.stop is None or self.state.open or self.state.is_final:
            return False
        reason = self.around.stop()
        if reason is None:
            return False
        self.append(ev.RunReleased(reason, at_ms=self.around.now_ms()))
        return True

    def append(self, *events: ev.Event, artifacts: Mapping[str, str] | None = None) -> None:
        """Fold events into the state and hand them to the journal, in this order."""
        state = self.state
        for event in events:
            state = apply(state, event)
        self.state = state
        around = self.around
        around.journal.append(self.lease, *events, artifacts=artifacts)
        if around.on_event:
            for event in events:
                tell(around.on_event, event)

    @property
    def is_abandoned(self) -> bool:
        """Whether this run, or one above it, was lost to another worker: then its end is not ours to write."""
        if self.keeper is not None and self.keeper.lost is not None:
            return True
        return self.around.is_abandoned is not None and self.around.is_abandoned()

    @property
    def is_nested(self) -> bool:
        """Whether this is a child run that its parent drives."""
        return self.around.is_abandoned is not None

    def seconds_left(self) -> float | None:
        """Return the seconds until the run's deadline, or `None`."""
        return seconds_left(self.state, self.budget, self.around.now_ms())

    def due_in_s(self) -> float | None:
        """Return the seconds after which somebody must look at the run although nothing came for it; `None`: never."""
        state, left = self.state, self.seconds_left()
        if state.status != "waiting":
            return left
        ends = list(self._calls.checks)
        if state.reason not in ev.PEOPLE:
            ends += [] if left is None else [left]
        elif state.expires_ms is not None and self._asks():
            ends.append(max((state.expires_ms - self.around.now_ms()) / 1000, 0.0))
        return min(ends, default=None)

    def _asks(self) -> bool:
        """Return whether a person is asked for an approval now, rather than about a doubt or by a child run."""
        return any(not each.finished and needs_review(self.blueprint, each) for each in self.state.open)

    def _next(self) -> Move:
        window = self.around.endpoint.context_tokens
        return next_move(self.blueprint, self.state, self.budget, self.around.now_ms(), window)

    async def _record(self, move: Record) -> bool:
        self.append(*move.events, artifacts=move.artifacts)
        return True

    async def _call(self, move: Call) -> bool:
        return await self._calls.run(move.calls)

    async def _done(self, move: Done) -> bool:
        return False

    async def _sleep(self, move: Sleep) -> bool:
        """Ask the process's own reviewer; without a decision the run waits."""
        if move.reason == "in_doubt" and await self._calls.collect_late(move.calls):
            return True
        now, expires = self.around.now_ms(), None
        if move.reason == "approval":
            if self._calls.refuse_hopeless(move.calls):
                return True
            if self.around.review and await self._reviewed(move.calls, self.around.review):
                return True
            expires = self._question_ends_ms(now)
        self.append(ev.RunWaiting(move.reason, move.calls, expires, now))
        return False

    def _question_ends_ms(self, now_ms: int) -> int | None:
        if self.state.expires_ms is not None:
            return self.state.expires_ms
        ttl_s = self.around.approval_ttl_s
        return None if ttl_s is None else now_ms + int(ttl_s * 1000)

    async def _reviewed(self, call_ids: tuple[str, ...], review: Review) -> bool:
        """Return whether something was decided about these calls."""
        await self.checkpoint(durable=True)
        decided = False
        for each in self.state.open:
            if each.call.id in call_ids and (decision := await review(each.call)):
                self.append(decision)
                decided = True
        return decided

    async def _ask(self, move: Ask) -> bool:
        samples = self.blueprint.agent.samples
        try:
            if samples > 1 and move.kind == "decision":
                reply = await vote(self, move, samples)
            else:
                reply = await self.complete(move, self.sampling)
        except ContextTooLong as exc:
            self._make_room(exc)
        except EndpointRefused as exc:
            self.append(ev.RunFailed("model_refused", str(exc)))
        except EndpointTimedOut:
            left = self.seconds_left()
            if left is None or left > 0:
                raise  # else the deadline passed meanwhile, and the next move ends the run
        except StreamRunaway as exc:
            wasted = ev.Tokens(completion=exc.wasted_tokens)
            problem = f"your last reply was cut off: {exc.problem}."
            self.append(*self._asked(move), ev.StepRejected(self.state.step + 1, "", problem, wasted))
        else:
            await self.checkpoint()
            self._take(move, reply)
            if self.state.losses:  # should a call of this decision end the process again, the journal shall name it
                await self.checkpoint()
        return True

    async def checkpoint(self, *, durable: bool = False) -> None:
        """Wait until all events are stored (and durable).

        Raises:
            CancelRequested: Somebody has asked for the run's end before the newest event was stored.
        """
        reason = await self.around.journal.barrier(self.lease, durable=durable)
        if reason is not None and not self.state.is_final:
            raise CancelRequested(reason)

    def _asked(self, move: Ask) -> tuple[ev.Event, ...]:
        """Return what keeps the request of a plan or reflection in the prompt when its reply is rejected."""
        return () if move.kind == "decision" else (ev.Noticed(move.kind, move.prompt),)

    def _take(self, move: Ask, reply: Reply) -> None:
        """Turn a reply into events."""
        tokens, size = self._tokens(reply.usage), reply.prompt_tokens
        step = self.state.step + 1
        try:
            if reply.finish == "length":
                raise DecisionInvalid("it was cut off because it is too long.", reply.text)
            decision = read_decision(reply.text, step, may_call=move.may_call)
            if move.kind != "decision":
                check_side_turn(move.kind, decision)
                self.append(ev.TurnTaken(move.kind, move.prompt, decision.text, tokens, size))
            elif decision.answer is None:
                self.append(ev.StepDecided(step, decision.text, decision.calls, None, tokens, size))
            else:
                self.blueprint.agent.parse_output(decision.answer)
                final = ev.StepDecided(step, decision.text, (), decision.answer, tokens, size)
                self.append(final, ev.RunSucceeded(decision.answer))
        except DecisionInvalid as exc:
            self._calls.cancel_early()
            self.append(*self._asked(move), ev.StepRejected(step, reply.text, str(exc), tokens))

    async def complete(self, move: Ask, sampling: Sampling, *, early: bool = True) -> Reply:
        """Stream one completion; start `read` calls as their objects close."""
        request = CompletionRequest(
            move.messages, move.constraint, sampling, self.state.created.run_id, self.seconds_left()
        )
        reply = Reply()
        reader: DecisionReader | None = None
        watch = early and move.may_call and bool(self.blueprint.early) and not self.state.losses
        parts: list[str] = []
        stream = self.around.endpoint.stream(request)
        try:
            async for delta in stream:
                if self.around.on_delta:
                    tell(self.around.on_delta, self.state.step + 1, delta)
                if delta.text:
                    parts.append(delta.text)
                    if watch and delta.finish_reason is None:
                        reader = reader or DecisionReader()
                        for index, text in reader.feed(delta.text):
                            self._calls.start_early(index, text)
                if delta.finish_reason:
                    reply.finish = delta.finish_reason
                if delta.usage:
                    reply.usage, reply.prompt_tokens = delta.usage, delta.usage.total_tokens
        except BaseException:
            self._calls.cancel_early()
            await stream.aclose()
            raise
        reply.text = parts[0] if len(parts) == 1 else "".join(parts)
        return reply

    def _make_room(self, problem: ContextTooLong) -> None:
        window = self.around.endpoint.context_tokens or self.state.prompt_tokens or self.state.new_chars // 4
        record = shorten(self.state, window, urgent=True)
        if record is None:
            self.append(ev.RunFailed("context_too_long", str(problem)))
        else:
            self.append(*record.events, artifacts=record.artifacts)

    def _tokens(self, usage: Usage | None) -> ev.Tokens:
        if usage is None:
            return ev.NO_TOKENS
        cost = self.around.prices.cost(usage) if self.around.prices else 0.0
        return ev.Tokens(usage.prompt_tokens, usage.cached_tokens, usage.completion_tokens, cost)
