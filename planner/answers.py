"""Answer what a waiting run waits for: approve or refuse a call, or say what became of one that is in doubt.

An answer only writes an event; `resume_run`, or a worker, then carries the run on. Giving the same answer again
changes nothing, so a caller who lost the reply may simply repeat it; another answer is refused.
"""

import asyncio
import contextlib
import re
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from ..errors import ApprovalNotFound, ApprovalVoid, ArgumentsInvalid, EditInvalid, JournalError, Misuse, RunBusy
from ..memory.journal.contract import Claim, Journal
from ..tools.truncate import fit
from . import events as ev
from .approvals import call_digest, needs_review
from .blueprint import blueprint_of
from .state import OpenCall, RunState, fold

if TYPE_CHECKING:
    from ..agents.agent import Agent
    from ..tools.tool import Tool

E = TypeVar("E", ev.CallReviewed, ev.CallFinished)

ANSWER_LEASE_S = 10.0
"""Seconds for which the run is held while the answer is written."""

BUSY_S = 2.0
"""Seconds for which an answer is tried while somebody else holds the run."""

BUSY_POLL_S = 0.05
"""Seconds between two tries."""

_CALL_ID = re.compile(r"([0-9]{1,9})\.[0-9]{1,9}")

SETTLED_TOKENS = 1000
"""Room in the prompt for what a person says of a call, when the tool's own is not known."""


async def review_call(
    journal: Journal,
    run_id: str,
    call_id: str,
    *,
    approved: bool,
    by: str = "",
    note: str = "",
    digest: str | None = None,
    arguments: str | None = None,
    agent: "Agent[Any] | None" = None,
    now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
) -> ev.CallReviewed:
    """Approve or refuse a call that asked for approval.

    Args:
        journal: Where the run is written down.
        run_id: The run.
        call_id: The call, as `run.waiting` names it.
        approved: Whether it may be made.
        by: Who decided; kept in the journal.
        note: Reason of a refusal; the model reads it.
        digest: What was decided about, as `open_reviews` names it; the decision is void if the call is another now.
        arguments: JSON text to make the call with instead.
        agent: The run's agent; needed with `digest` and `arguments`.
        now_ms: The clock by which a question expires.

    Returns:
        The decision as it is written down.

    Raises:
        ApprovalNotFound: The run has no such call.
        ApprovalVoid: The call waits for no review (any more), was decided otherwise, expired, or is not what `digest`
            says.
        EditInvalid: The tool does not take these arguments.
        RunNotFound: There is no such run.
        RunBusy: A process holds the run; a retry may help.
    """
    at = _Place(run_id, call_id, agent)
    if agent is None and (digest is not None or arguments is not None):
        raise Misuse("a digest and edited arguments can be checked with the run's agent only: hand it in")

    def before(events: Sequence[ev.Event]) -> ev.CallReviewed | None:
        return at.reviewed_before(events, approved, arguments)

    def decide(state: RunState) -> ev.CallReviewed:
        each = at.find(state)
        if each.in_doubt or each.intended or not at.wants_review(each):
            raise at.void("it does not wait for a review")
        if state.expires_ms is not None and now_ms() >= state.expires_ms:
            raise at.void("nobody decided in time")
        at.check(state, each, digest)
        return ev.CallReviewed(call_id, approved, by, note, arguments, at.sent_digest(each, arguments))

    return await _answer(journal, run_id, before, decide)


async def settle_call(
    journal: Journal,
    run_id: str,
    call_id: str,
    *,
    result: str | None,
    note: str = "",
    by: str = "",
    digest: str | None = None,
    agent: "Agent[Any] | None" = None,
) -> ev.CallFinished:
    """Say what became of a `once` call that is in doubt.

    Args:
        journal: Where the run is written down.
        run_id: The run.
        call_id: The call, as `run.waiting` names it.
        result: What the tool would have returned, when it took effect; `None` when it surely did not.
        note: More that the model shall know when it did not.
        by: Who said so; kept in the journal.
        digest: What was said something about, as `open_reviews` names it.
        agent: The run's agent; needed with `digest`.

    Returns:
        The observation as it is written down; a long result is cut, and whole in the run's artifacts.

    Raises:
        ApprovalNotFound: The run has no such call.
        ApprovalVoid: The call is not in doubt, was settled otherwise, or is not what `digest` says.
        RunNotFound: There is no such run.
        RunBusy: A process holds the run; a retry may help.
    """
    at = _Place(run_id, call_id, agent)
    if agent is None and digest is not None:
        raise Misuse("a digest can be checked with the run's agent only: hand it in")
    text = result if result is not None else f"This call was not made. {note}".strip()
    artifact, error = f"r{call_id}", None if result is not None else "not_made"

    def before(events: Sequence[ev.Event]) -> ev.CallFinished | None:
        return at.settled_before(events, text, artifact, error)

    def decide(state: RunState) -> ev.CallFinished:
        each = at.find(state)
        if not each.in_doubt:
            raise at.void("it is not in doubt")
        at.check(state, each, digest)
        shown, cut = at.shown(each.call.tool, text, artifact)
        return ev.CallFinished(call_id, each.call.tool, shown, error, artifact if cut else None, len(text), by=by)

    return await _answer(journal, run_id, before, decide, {artifact: text})


class _Place(NamedTuple):
    """The call that is answered, and what is asked of it."""

    run_id: str
    call_id: str
    agent: "Agent[Any] | None"

    def void(self, problem: str) -> ApprovalVoid:
        return ApprovalVoid(self.run_id, self.call_id, problem)

    def tool(self, name: str) -> "Tool[..., Any] | None":
        return blueprint_of(self.agent).tools.get(name) if self.agent else None

    def shown(self, tool_name: str, text: str, artifact: str) -> tuple[str, bool]:
        """Return a result as the model reads it, and whether it was cut."""
        tool = self.tool(tool_name)
        return fit(text, tool.max_result_tokens if tool else SETTLED_TOKENS, artifact)

    def find(self, state: RunState) -> OpenCall:
        for each in state.open:
            if each.call.id == self.call_id and not each.finished and not state.is_final:
                return each
        shape = _CALL_ID.fullmatch(self.call_id)
        if shape and 0 < int(shape[1]) <= state.step:
            raise self.void("it waits for no answer" if not state.is_final else f"the run {state.status}")
        raise ApprovalNotFound(f"{self.run_id}:{self.call_id}")

    def wants_review(self, each: OpenCall) -> bool:
        if self.agent is None:
            return each.reviewed is None
        return needs_review(blueprint_of(self.agent), each)

    def check(self, state: RunState, each: OpenCall, digest: str | None) -> None:
        """Refuse a decision about another call than the one that would be made."""
        if self.agent is not None and self.agent.hash != state.created.agent_hash:
            raise self.void(f"agent {state.created.agent!r} is defined in another way here than the run's")
        if digest is not None and digest != self.sent_digest(each, None):
            raise self.void("tool, version or arguments are not what the digest says")

    def sent_digest(self, each: OpenCall, arguments: str | None) -> str:
        """Return the digest of what will be sent; empty when the agent is not known. Checks edited arguments."""
        tool = self.tool(each.call.tool)
        if tool is None:
            return ""
        if arguments is not None:
            try:
                tool.parse(arguments)
            except ArgumentsInvalid as exc:
                raise EditInvalid(self.call_id, exc.problems) from exc
        return call_digest(tool, each.call.arguments if arguments is None else arguments)

    def reviewed_before(
        self, events: Sequence[ev.Event], approved: bool, arguments: str | None
    ) -> ev.CallReviewed | None:
        """Return the same decision, when it was made before and still holds; refuse another one."""
        made = [each for each in events if isinstance(each, ev.CallReviewed) and each.call_id == self.call_id]
        if not made:
            return None
        still_open = [each for each in fold(events).open if each.call.id == self.call_id and not each.finished]
        if still_open and self.wants_review(still_open[0]):
            return None
        if (made[-1].approved, made[-1].arguments) == (approved, arguments):
            return made[-1]
        raise self.void(f"{'approved' if made[-1].approved else 'refused'} before by {made[-1].by or 'somebody'}")

    def settled_before(
        self, events: Sequence[ev.Event], text: str, artifact: str, error: str | None
    ) -> ev.CallFinished | None:
        """Return the same answer, when it was given before; refuse another one."""
        doubts = [each for each in events if isinstance(each, ev.CallInDoubt) and each.call_id == self.call_id]
        done = [each for each in events if isinstance(each, ev.CallFinished) and each.call_id == self.call_id]
        if not doubts or not done:
            return None
        shown, _ = self.shown(done[0].tool, text, artifact)
        if (done[0].error, done[0].size, done[0].text) == (error, len(text), shown):
            return done[0]
        raise self.void(f"settled before by {done[0].by or 'somebody'}")


async def _answer(
    journal: Journal,
    run_id: str,
    before: Callable[[Sequence[ev.Event]], E | None],
    decide: Callable[[RunState], E],
    artifacts: dict[str, str] | None = None,
) -> E:
    """Write an answer down, unless it stands there already."""
    give_up = time.monotonic() + BUSY_S
    while True:
        events = [stored.event for stored in await journal.read(run_id)]
        if (known := before(events)) is not None:
            return known
        decide(fold(events))  # what is refused anyway is refused without holding the run
        try:
            claim = await journal.claim(run_id, "answer", ttl_s=ANSWER_LEASE_S)
        except RunBusy:
            if time.monotonic() >= give_up:
                raise
            await asyncio.sleep(BUSY_POLL_S)
        else:
            return await _write(journal, claim, before, decide, artifacts)


async def _write(
    journal: Journal,
    claim: Claim,
    before: Callable[[Sequence[ev.Event]], E | None],
    decide: Callable[[RunState], E],
    artifacts: dict[str, str] | None,
) -> E:
    events = [stored.event for stored in claim.events]
    try:
        if (known := before(events)) is not None:
            return known
        event = decide(fold(events))
        if isinstance(event, ev.CallReviewed) and claim.cancel_requested is not None:
            raise ApprovalVoid(claim.lease.run_id, event.call_id, "somebody has asked for the end of the run")
        kept = artifacts if isinstance(event, ev.CallFinished) and event.artifact else None
        journal.append(claim.lease, event, artifacts=kept)
        await journal.barrier(claim.lease, durable=True)
        return event
    finally:
        with contextlib.suppress(JournalError):  # a lease that is lost needs no giving back
            journal.append(claim.lease, ev.RunReleased("answered"))
        await journal.release(claim.lease)
