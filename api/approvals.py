"""What waits for a person, found in the journals of waiting runs, and what a person decided, written there.

A decision is an event of the run: who decided, about which digest, with which arguments. So the journal is the audit,
and nothing about approvals is kept anywhere else.
"""

import asyncio
import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from ..errors import AgentNotFound, ApprovalNotFound, ApprovalVoid, JournalError, RequestInvalid, RunNotFound
from ..planner import events as ev
from ..planner.answers import review_call, settle_call
from ..planner.approvals import OpenReview, open_reviews
from ..planner.blueprint import blueprint_of
from ..planner.state import RunState, fold
from .caller import Caller
from .models import Approval, Decision, DecisionAnswer, Page
from .ownership import own_record
from .service import Service
from .views import moment

if TYPE_CHECKING:
    from ..agents.agent import Agent

AT_ONCE = 16
"""Journals that are read at the same time for one list."""

MAX_SCANNED = 256
"""Waiting runs that one page looks at; a page may hold fewer approvals than asked for, and `next` goes on."""

UNKNOWN_RESULT = "This call took effect; its result is not known."


async def list_approvals(service: Service, caller: Caller, cursor: str, limit: int) -> Page[Approval]:
    """Return what waits for a decision of the caller's tenant, youngest runs first.

    Args:
        service: The parts of the service.
        caller: Who asks.
        cursor: Run id behind which to go on; empty: from the start.
        limit: About how many; the calls of one run stay together.

    Raises:
        JournalUnavailable: Redis gave no answer.
    """
    found: list[Approval] = []
    scanned = 0
    while len(found) < limit and scanned < MAX_SCANNED:
        wanted = min(AT_ONCE, max(1, limit - len(found)))
        run_ids = await service.store.journal.waiting(caller.tenant, before=cursor, limit=wanted)
        for approvals in await asyncio.gather(*(_approvals_of(service, each) for each in run_ids)):
            found += approvals
        scanned += len(run_ids)
        if len(run_ids) < wanted:
            return Page[Approval](items=found)
        cursor = run_ids[-1]
    return Page[Approval](items=found, next=cursor)


async def decide(service: Service, caller: Caller, approval_id: str, decision: Decision) -> DecisionAnswer:
    """Write a decision down and wake the run. The same decision again changes nothing and gets the same answer.

    Args:
        service: The parts of the service.
        caller: Who decides; the journal names the key.
        approval_id: The run's id and the call's id with a colon between.
        decision: What was decided, about which digest.

    Raises:
        ApprovalNotFound: The caller's tenant has no such call.
        ApprovalVoid: The call waits for no such decision, or is not what the digest says.
        EditInvalid: The tool does not take the edited arguments.
        RequestInvalid: Fields of the decision do not fit together.
        RunBusy: A process holds the run; a retry may help.
        JournalUnavailable: Redis gave no answer. Retry is safe.
    """
    _check(decision)
    run_id, colon, call_id = approval_id.partition(":")
    created = await _created(service, caller, run_id) if colon and call_id else None
    if created is None:
        raise ApprovalNotFound(approval_id)
    agent = _agent_of(service, created, call_id)
    answer = await _write(service, caller, run_id, call_id, decision, agent)
    await service.doorbell.ring(run_id, created.priority)
    return answer


async def _created(service: Service, caller: Caller, run_id: str) -> ev.RunCreated | None:
    """Return the first event of a run of the caller's tenant."""
    try:
        await own_record(service, caller, run_id)
        (first,) = await service.store.journal.read(run_id, limit=1)
    except RunNotFound:
        return None
    return first.event if isinstance(first.event, ev.RunCreated) else None


def _agent_of(service: Service, created: ev.RunCreated, call_id: str) -> "Agent[Any]":
    try:
        return service.registry.get(created.agent)
    except AgentNotFound as exc:
        problem = f"this server does not know the run's agent {created.agent!r}"
        raise ApprovalVoid(created.run_id, call_id, problem) from exc


async def _write(
    service: Service, caller: Caller, run_id: str, call_id: str, decision: Decision, agent: "Agent[Any]"
) -> DecisionAnswer:
    about: dict[str, Any] = {"by": caller.key_id, "note": decision.reason, "digest": decision.digest, "agent": agent}
    journal, arguments = service.store.journal, None
    if decision.decision in ("happened", "did_not_happen"):
        result = (decision.result or UNKNOWN_RESULT) if decision.decision == "happened" else None
        settled = await settle_call(journal, run_id, call_id, result=result, **about)
        by = settled.by
    else:
        edited = _as_json(decision.arguments) if decision.decision == "edit" else None
        reviewed = await review_call(
            journal, run_id, call_id, approved=decision.decision != "reject", arguments=edited,
            now_ms=service.now_ms, **about,
        )  # fmt: skip
        by = reviewed.by
        if reviewed.approved:
            arguments = reviewed.arguments or await _decided_arguments(service, run_id, call_id)
    return DecisionAnswer(run_id=run_id, call_id=call_id, decision=decision.decision, by=by, arguments=arguments)


async def _decided_arguments(service: Service, run_id: str, call_id: str) -> str | None:
    """Return the arguments of a call as the model decided them."""
    for stored in reversed(await service.store.journal.read(run_id)):
        if isinstance(stored.event, ev.StepDecided):
            for call in stored.event.calls:
                if call.id == call_id:
                    return call.arguments
    return None


def _check(decision: Decision) -> None:
    """Refuse fields that do not belong to the decision, so that none is silently left out."""
    problems = []
    if decision.decision == "edit" and decision.arguments is None:
        problems.append("body.arguments: is missing; edit names all arguments of the call")
    if decision.decision != "edit" and decision.arguments is not None:
        problems.append(f"body.arguments: belongs to edit, not to {decision.decision}")
    if decision.decision != "happened" and decision.result is not None:
        problems.append(f"body.result: belongs to happened, not to {decision.decision}")
    if problems:
        raise RequestInvalid(problems)


def _as_json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


async def _approvals_of(service: Service, run_id: str) -> list[Approval]:
    """Return what a run waits for a person to say; nothing when it went on or left in between."""
    try:
        stored = await service.store.journal.read(run_id)
    except RunNotFound:
        return []
    events = [each.event for each in stored]
    try:
        state = fold(events)
    except JournalError:
        return []  # a journal that breaks its own rules must not hide what others wait for
    return [_approval(state, each) for each in _reviews(service, state, events)]


def _reviews(service: Service, state: RunState, events: Sequence[ev.Event]) -> list[OpenReview]:
    try:
        agent = service.registry.get(state.created.agent)
    except AgentNotFound:
        agent = None
    if agent is None or agent.hash != state.created.agent_hash:
        return list(_undecidable(state, events))
    return open_reviews(state, blueprint_of(agent))


def _undecidable(state: RunState, events: Sequence[ev.Event]) -> Iterator[OpenReview]:
    """Yield what a run waits for whose agent is not defined here as it was: shown, without a digest to decide about."""
    waits = next((each for each in reversed(events) if isinstance(each, ev.RunWaiting)), None)
    if state.status != "waiting" or waits is None or waits.reason not in ev.PEOPLE:
        return
    for each in state.open:
        if each.call.id in waits.call_ids and not each.finished and not (each.reviewed and not each.in_doubt):
            kind, expires = ("in_doubt", None) if each.in_doubt else ("approval", state.expires_ms)
            yield OpenReview(each.call, kind, "", state.asked_ms, expires)  # type: ignore[arg-type]


def _approval(state: RunState, review: OpenReview) -> Approval:
    return Approval(
        id=f"{state.created.run_id}:{review.call.id}",
        run_id=state.created.run_id,
        call_id=review.call.id,
        kind=review.kind,
        agent=state.created.agent,
        tool=review.call.tool,
        arguments=review.call.arguments,
        digest=review.digest,
        thread_id=state.created.thread_id,
        asked_at=moment(review.asked_ms or state.created.created_ms),
        expires_at=None if review.expires_ms is None else moment(review.expires_ms),
    )
