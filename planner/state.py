"""The state of a run: a frozen value, the fold of its events.

`apply` is the only way to change a state, so replaying a journal rebuilds exactly the state that wrote it;
`state_digest` makes that checkable. Named tuples rather than dataclasses: a copy with changes costs 2 µs.
"""

import hashlib
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, cast

from pydantic_core import to_json

from ..errors import JournalCorrupt
from ..inference.endpoint import Message
from . import events as ev
from .prompt import render_notice, render_observation, render_task

RECENT_CALLS = 24
"""How many finished calls the loop guard remembers."""

REPEATS = 3
"""The same call with the same result so many times is a loop: the model is nudged, and stopped when it goes on."""

EDITED = "A person changed the arguments of call {} before it was made. They were: {}"
"""What the model reads behind the observations of a step."""

RECALLED_TEXT = 600
"""Characters of an invalid reply that stay in the prompt; the journal keeps all of it."""


class OpenCall(NamedTuple):
    """A call of the current step, as far as it has come."""

    call: ev.ToolCall
    intended: ev.CallIntended | None = None
    reviewed: ev.CallReviewed | None = None
    in_doubt: bool = False
    finished: ev.CallFinished | None = None


class Observed(NamedTuple):
    """The observations in message number `place`; compaction turns them into stubs."""

    place: int
    calls: tuple[ev.CallFinished, ...]


class RunState(NamedTuple):
    """Everything the planner knows of a run.

    Attributes:
        created: The accepted task.
        status: Where the run stands.
        reason: Why it ended or waits, machine-readable.
        detail: The same for people.
        output: The answer as JSON text, once succeeded.
        attempts: How often a worker took the run.
        is_held: Whether the last worker that took the run has not given it back.
        losses: Workers lost in a row: each took the run and neither finished a call or a turn nor gave it back.
        outages: How often in a row the run was given back because the model could not be reached.
        outage_ms: When the first of those was, in milliseconds since 1970.
        step: Steps decided or rejected so far.
        messages: The prompt of the next step; roles alternate behind the system message.
        observed: Which messages hold observations, oldest first.
        open: Calls of the current step; empty when the model's turn has come.
        tokens: Sum over all turns of the model and of child runs.
        tool_calls: Calls decided so far.
        recent: The last finished calls as (tool, arguments, observation), for the loop guard.
        nudged: Calls that the model has been nudged about.
        rejections: Invalid replies in a row.
        failures: Steps in a row in which every call failed.
        last_turn: The limit that ended the run's budget, once the last turn is announced.
        prompt_tokens: Size of the prompt after the last turn, as the endpoint reported it, less what was compacted.
        new_chars: Characters added to the prompt since.
        compactions: How often old observations were replaced by stubs.
        planned: Whether the plan was made.
        reflected: Step after which the model last reflected.
        truncated: Whether some result is only partly shown, so that `read_artifact` is offered.
        asked_ms: When a person was first asked about a call of this step; 0: nobody was.
        expires_ms: When that question expires; `None`: never.
        awaited: Runs that the run waited for when it last fell asleep, and that may still go on.
        paused_ms: Milliseconds for which the run has waited for people; they do not count against its deadline.
        paused_since_ms: When the present wait for a person began; 0: there is none.
    """

    created: ev.RunCreated
    status: ev.Status = "queued"
    reason: str | None = None
    detail: str = ""
    output: str | None = None
    attempts: int = 0
    is_held: bool = False
    losses: int = 0
    outages: int = 0
    outage_ms: int = 0
    step: int = 0
    messages: tuple[Message, ...] = ()
    observed: tuple[Observed, ...] = ()
    open: tuple[OpenCall, ...] = ()
    tokens: ev.Tokens = ev.Tokens()
    tool_calls: int = 0
    recent: tuple[tuple[str, str, str], ...] = ()
    nudged: tuple[tuple[str, str, str], ...] = ()
    rejections: int = 0
    failures: int = 0
    last_turn: str | None = None
    prompt_tokens: int = 0
    new_chars: int = 0
    compactions: int = 0
    planned: bool = False
    reflected: int = 0
    truncated: bool = False
    asked_ms: int = 0
    expires_ms: int | None = None
    awaited: tuple[str, ...] = ()
    paused_ms: int = 0
    paused_since_ms: int = 0

    @property
    def is_final(self) -> bool:
        """Whether nothing can happen to the run any more."""
        return self.status in ev.FINAL

    def changed(self, **changes: Any) -> "RunState":
        """Return a copy with these fields changed; does what `_replace` does at half its cost."""
        values = list(self)
        for name, value in changes.items():
            values[_PLACES[name]] = value
        return _NEW(RunState, values)


_NEW: Callable[[type[RunState], list[Any]], RunState] = cast(Any, tuple.__new__)
_PLACES = {name: place for place, name in enumerate(RunState._fields)}


def fold(journal: Iterable[ev.Event]) -> RunState:
    """Return the state that a journal describes.

    Raises:
        JournalCorrupt: The journal does not begin with `run.created`, or an event follows the final one.
    """
    rest = iter(journal)
    first = next(rest, None)
    if not isinstance(first, ev.RunCreated):
        raise JournalCorrupt("a journal begins with run.created")
    state = RunState(created=first)
    for event in rest:
        state = apply(state, event)
    return state


def apply(state: RunState, event: ev.Event) -> RunState:
    """Return the state after one more event.

    Raises:
        JournalCorrupt: The run is final, or the event does not fit the state.
    """
    if state.status in ev.FINAL:
        raise JournalCorrupt(f"{event.type} behind the final event of run {state.created.run_id}")
    return _APPLY[event.type](state, event)


def open_doubts(state: RunState, problem: str) -> list[ev.CallInDoubt]:
    """Return what has to be said of `once` calls that were sent and have no result, before the run ends without one."""
    return [
        ev.CallInDoubt(each.call.id, each.call.tool, each.intended.key, problem)
        for each in state.open
        if each.intended and each.intended.effect == "once" and not each.finished and not each.in_doubt
    ]


def state_digest(state: RunState) -> str:
    """Return a hash that two states share exactly when they are equal, on any machine."""
    return hashlib.blake2b(to_json(state), digest_size=16).hexdigest()


def _created(state: RunState, event: ev.RunCreated) -> RunState:
    raise JournalCorrupt(f"second run.created in run {state.created.run_id}")


def _claimed(state: RunState, event: ev.RunClaimed) -> RunState:
    return state.changed(
        status="running" if state.status == "queued" else state.status,
        attempts=state.attempts + 1,
        losses=state.losses + state.is_held,
        is_held=True,
    )


def _released(state: RunState, event: ev.RunReleased) -> RunState:
    if event.reason != "model_unavailable":
        return state.changed(is_held=False)
    first = event.at_ms if state.outages == 0 else state.outage_ms
    return state.changed(is_held=False, outages=state.outages + 1, outage_ms=first)


def _started(state: RunState, event: ev.RunStarted) -> RunState:
    head = Message("system", event.head)
    said = tuple([Message(each.role, each.text) for each in event.history])
    task = Message("user", render_task(state.created.task))
    size = sum([len(each.content) for each in (head, *said, task)])
    return state.changed(status="running", messages=(head, *said, task), new_chars=size)


def _decided(state: RunState, event: ev.StepDecided) -> RunState:
    return state.changed(
        step=event.step,
        messages=(*state.messages, Message("assistant", event.text)),
        open=tuple([OpenCall(call) for call in event.calls]),
        tokens=state.tokens + event.tokens,
        tool_calls=state.tool_calls + len(event.calls),
        rejections=0,
        outages=0,
        prompt_tokens=event.prompt_tokens or state.prompt_tokens,
        new_chars=0 if event.prompt_tokens else state.new_chars + len(event.text),
    )


def _rejected(state: RunState, event: ev.StepRejected) -> RunState:
    told = render_notice(f"{event.problem} Reply again with one valid JSON object.")
    reply = Message("assistant", event.text[:RECALLED_TEXT] or "(nothing)")
    state = state.changed(
        step=event.step, tokens=state.tokens + event.tokens, rejections=state.rejections + 1, losses=0, outages=0,
        messages=(*state.messages, reply), new_chars=state.new_chars + len(reply.content),
    )  # fmt: skip
    return _say(state, told)


def _turn(state: RunState, event: ev.TurnTaken) -> RunState:
    state = _say(state, render_notice(event.prompt))
    mark = {"planned": True} if event.kind == "plan" else {"reflected": state.step}
    return state.changed(
        messages=(*state.messages, Message("assistant", event.text)),
        tokens=state.tokens + event.tokens,
        prompt_tokens=event.prompt_tokens or state.prompt_tokens,
        new_chars=0 if event.prompt_tokens else state.new_chars + len(event.text),
        losses=0,
        outages=0,
        **mark,
    )


def _intended(state: RunState, event: ev.CallIntended) -> RunState:
    return _update(state, event.call_id, intended=event)


def _reviewed(state: RunState, event: ev.CallReviewed) -> RunState:
    if event.arguments is None:
        return _update(state, event.call_id, reviewed=event)
    tool = next((each.call.tool for each in state.open if each.call.id == event.call_id), "")
    return _update(state, event.call_id, reviewed=event, call=ev.ToolCall(event.call_id, tool, event.arguments))


def _in_doubt(state: RunState, event: ev.CallInDoubt) -> RunState:
    return _update(state, event.call_id, in_doubt=True)


def _finished(state: RunState, event: ev.CallFinished) -> RunState:
    if state.losses:
        state = state.changed(losses=0)
    still_open = state.open
    if len(still_open) == 1 and still_open[0].call.id == event.call_id:
        return _observe(state, (still_open[0]._replace(finished=event),))
    state = _update(state, event.call_id, finished=event)
    if all(each.finished for each in state.open):
        return _observe(state, state.open)
    return state


def _observe(state: RunState, done: tuple[OpenCall, ...]) -> RunState:
    """Close the step: its observations, in the order of the calls, become one message."""
    if len(done) == 1:
        only: Any = done[0].finished
        text = _observation(only)
        finished: tuple[ev.CallFinished, ...] = (only,)
        keys: tuple[tuple[str, str, str], ...] = ((only.tool, done[0].call.arguments, only.text),)
        all_failed, was_cut = only.error is not None, only.artifact is not None
    else:
        finished = tuple([cast(ev.CallFinished, each.finished) for each in done])
        text = "\n".join([_observation(each) for each in finished])
        keys = tuple(
            [(each.tool, opened.call.arguments, each.text) for each, opened in zip(finished, done, strict=True)]
        )
        all_failed, was_cut = all(each.error for each in finished), any(each.artifact for each in finished)
    for opened in done:
        if opened.reviewed and opened.reviewed.arguments is not None:
            text = f"{text}\n{render_notice(EDITED.format(opened.call.id, opened.call.arguments))}"
    tokens = state.tokens
    for each in finished:
        if each.usage:
            tokens = tokens + each.usage
    return state.changed(
        open=(),
        messages=(*state.messages, Message("user", text)),
        observed=(*state.observed, Observed(len(state.messages), finished)),
        new_chars=state.new_chars + len(text),
        recent=(state.recent + keys)[-RECENT_CALLS:],
        failures=state.failures + 1 if all_failed else 0,
        truncated=state.truncated or was_cut,
        tokens=tokens,
        asked_ms=0,
        expires_ms=None,
        awaited=(),
    )


def _observation(finished: ev.CallFinished) -> str:
    return render_observation(finished.call_id, finished.tool, finished.text, error=finished.error)


def _noticed(state: RunState, event: ev.Noticed) -> RunState:
    if event.kind == "loop":
        state = state.changed(nudged=(*state.nudged, *repeated_calls(state)))
    return _say(state, render_notice(event.text))


def repeated_calls(state: RunState) -> list[tuple[str, str, str]]:
    """Return the calls of the newest step that were made before, with the same result, and how often is too often."""
    newest = len(state.observed[-1].calls) if state.observed else 0
    tail = state.recent[len(state.recent) - newest :]
    return [key for key in dict.fromkeys(tail) if state.recent.count(key) >= REPEATS]


def _budget(state: RunState, event: ev.BudgetReached) -> RunState:
    return _say(state, render_notice(event.text))._replace(last_turn=event.limit, rejections=0)


def _compacted(state: RunState, event: ev.PromptCompacted) -> RunState:
    messages = list(state.messages)
    observed = []
    for each in state.observed:
        calls = tuple([_stub(call, event.artifacts) for call in each.calls])
        if calls != each.calls:
            rest = messages[each.place].content[len("\n".join([_observation(call) for call in each.calls])) :]
            stubs = "\n".join([_observation(call) for call in calls])
            messages[each.place] = Message("user", stubs + rest)
        observed.append(Observed(each.place, calls))
    before = sum(len(each.content) for each in state.messages)
    after = sum(len(each.content) for each in messages)
    return state.changed(
        messages=tuple(messages), observed=tuple(observed), compactions=state.compactions + 1, truncated=True,
        prompt_tokens=event.before * after // max(before, 1), new_chars=0,
    )  # fmt: skip


def _stub(call: ev.CallFinished, artifacts: Any) -> ev.CallFinished:
    artifact = artifacts.get(call.call_id)
    if artifact is None:
        return call
    text = f'[moved out of the prompt; read_artifact("{artifact}") returns it]'
    return ev.CallFinished(call.call_id, call.tool, text, call.error, artifact, call.size, call.latency_ms, call.usage)


def _waiting(state: RunState, event: ev.RunWaiting) -> RunState:
    state = state.changed(status="waiting", reason=event.reason, is_held=False, losses=0, awaited=event.runs)
    if event.reason not in ev.PEOPLE:
        return state
    return state.changed(
        paused_since_ms=event.at_ms,
        asked_ms=state.asked_ms or event.at_ms,  # looking at the run in between does not prolong the question
        expires_ms=event.expires_ms if state.expires_ms is None else state.expires_ms,
    )


def _resumed(state: RunState, event: ev.RunResumed) -> RunState:
    passed = event.at_ms - state.paused_since_ms if state.paused_since_ms else 0
    return state.changed(
        status="running", reason=None, is_held=True, paused_since_ms=0, paused_ms=state.paused_ms + max(passed, 0)
    )


def _succeeded(state: RunState, event: ev.RunSucceeded) -> RunState:
    return state.changed(status="succeeded", reason=state.last_turn, output=event.output)


def _failed(state: RunState, event: ev.RunFailed) -> RunState:
    return state.changed(status="failed", reason=event.reason, detail=event.detail)


def _cancelled(state: RunState, event: ev.RunCancelled) -> RunState:
    return state.changed(status="cancelled", reason=event.reason)


def _expired(state: RunState, event: ev.RunExpired) -> RunState:
    return state.changed(status="expired", reason="deadline", detail=event.detail)


def _say(state: RunState, text: str) -> RunState:
    """Add to the user's side; a user message that the model has not answered yet takes the text in."""
    *before, last = state.messages
    if last.role == "user":
        merged = Message("user", f"{last.content}\n{text}")
        return state.changed(messages=(*before, merged), new_chars=state.new_chars + len(text))
    return state.changed(messages=(*state.messages, Message("user", text)), new_chars=state.new_chars + len(text))


def _update(state: RunState, call_id: str, **changes: Any) -> RunState:
    if call_id not in [each.call.id for each in state.open]:
        raise JournalCorrupt(f"call {call_id} is not open in run {state.created.run_id}")
    opened = tuple([each._replace(**changes) if each.call.id == call_id else each for each in state.open])
    return state.changed(open=opened)


_APPLY: dict[str, Callable[[RunState, Any], RunState]] = {
    "run.created": _created,
    "run.claimed": _claimed,
    "run.released": _released,
    "run.started": _started,
    "step.decided": _decided,
    "step.rejected": _rejected,
    "turn.taken": _turn,
    "call.intended": _intended,
    "call.reviewed": _reviewed,
    "call.in_doubt": _in_doubt,
    "call.finished": _finished,
    "run.noticed": _noticed,
    "budget.reached": _budget,
    "prompt.compacted": _compacted,
    "run.waiting": _waiting,
    "run.resumed": _resumed,
    "run.succeeded": _succeeded,
    "run.failed": _failed,
    "run.cancelled": _cancelled,
    "run.expired": _expired,
}
