"""Answer what a waiting run waits for: approve or refuse a call, or say what became of one that is in doubt.

An answer only writes an event; `resume_run`, or a worker, then carries the run on.
"""

from collections.abc import Callable

from ..errors import Misuse
from ..memory.journal.contract import Journal
from . import events as ev
from .state import OpenCall, RunState, fold

Answer = Callable[[OpenCall], ev.Event]

ANSWER_LEASE_S = 10.0
"""Seconds for which the run is held while the answer is written."""


async def review_call(
    journal: Journal, run_id: str, call_id: str, *, approved: bool, by: str = "", note: str = ""
) -> None:
    """Approve or refuse a call that asked for approval.

    Args:
        journal: Where the run is written down.
        run_id: The run.
        call_id: The call, as `run.waiting` names it.
        approved: Whether it may be made.
        by: Who decided; kept in the journal.
        note: Reason of a refusal; the model reads it.

    Raises:
        Misuse: The call does not wait for a review.
        RunNotFound, RunBusy: There is no such run, it is final, or a process holds it.
    """

    def answer(each: OpenCall) -> ev.Event:
        if each.reviewed or each.intended:
            raise Misuse(f"call {call_id} of run {run_id} does not wait for a review")
        return ev.CallReviewed(call_id, approved, by, note)

    await _write(journal, run_id, call_id, answer)


async def settle_call(journal: Journal, run_id: str, call_id: str, *, result: str | None, note: str = "") -> None:
    """Say what became of a `once` call that is in doubt.

    Args:
        journal: Where the run is written down.
        run_id: The run.
        call_id: The call, as `run.waiting` names it.
        result: What the tool would have returned, when it took effect; `None` when it surely did not.
        note: More that the model shall know when it did not.

    Raises:
        Misuse: The call is not in doubt.
        RunNotFound, RunBusy: There is no such run, it is final, or a process holds it.
    """

    def answer(each: OpenCall) -> ev.Event:
        if not each.in_doubt:
            raise Misuse(f"call {call_id} of run {run_id} is not in doubt")
        text = result if result is not None else f"This call was not made. {note}".strip()
        return ev.CallFinished(
            call_id, each.call.tool, text, None if result is not None else "not_made", None, len(text)
        )

    await _write(journal, run_id, call_id, answer)


async def _write(journal: Journal, run_id: str, call_id: str, answer: Answer) -> None:
    claim = await journal.claim(run_id, "answer", ttl_s=ANSWER_LEASE_S)
    try:
        state: RunState = fold(stored.event for stored in claim.events)
        for each in state.open:
            if each.call.id == call_id and not each.finished:
                journal.append(claim.lease, answer(each))
                await journal.barrier(claim.lease, durable=True)
                return
        raise Misuse(f"call {call_id} of run {run_id} is not open")
    finally:
        await journal.release(claim.lease)
