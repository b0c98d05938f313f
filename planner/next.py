"""What a run does next: a pure function of its state.

    state ──► next_move ──► Ask      the model decides, plans or reflects
                            Call     open tool calls are executed
                            Record   events that need no I/O: budget, nudge, compaction, an end
                            Sleep    the run waits for somebody
                            Done     the run is final

The shell (`planner.loop`) carries a move out and appends the events; then it asks again.
"""

from collections.abc import Mapping
from typing import Literal, NamedTuple

from ..inference.constraints.decision import DecisionConstraint
from ..inference.endpoint import Message
from . import events as ev
from .approvals import needs_review
from .blueprint import Blueprint
from .budget import Budget, last_turn_notice, reached
from .compaction import compact, is_due
from .prompt import render_notice
from .state import REPEATS, OpenCall, RunState, open_doubts, repeated_calls

MAX_REJECTIONS = 3
"""Invalid replies in a row before the run fails."""

PLAN_REQUEST = "Before you act, give a short plan as your answer: one line for each step. Call no tool yet."
REFLECT_REQUEST = "That failed. Say in your answer what went wrong and what to try instead. Call no tool yet."
CARRY_ON = "Now carry on with the task."
NOT_APPROVED = "Nobody approved this call in time, so it was not made."
LOOP_NOTICE = "You made the same call several times with the same result. Do something else, or answer."


class Ask(NamedTuple):
    """Ask the model. `kind` says what the reply is: a decision, or text that stays in the prompt."""

    messages: tuple[Message, ...]
    constraint: DecisionConstraint
    kind: Literal["decision", "plan", "reflection"] = "decision"
    may_call: bool = True
    prompt: str = ""


class Call(NamedTuple):
    """Execute these open calls, all at the same time."""

    calls: tuple[OpenCall, ...]


class Record(NamedTuple):
    """Append these events, and store the artifacts (id to text) before them."""

    events: tuple[ev.Event, ...]
    artifacts: Mapping[str, str] | None = None


class Sleep(NamedTuple):
    """Wait for a person, a tool elsewhere or a timer; `calls` are what is waited for."""

    reason: ev.WaitReason
    calls: tuple[str, ...] = ()


class Done(NamedTuple):
    """The run is final."""


Move = Ask | Call | Record | Sleep | Done
_DONE = Done()


def next_move(blueprint: Blueprint, state: RunState, budget: Budget, now_ms: int, window: int | None = None) -> Move:
    """Return what the run does next.

    Args:
        blueprint: The agent.
        state: The run so far; it must have been started.
        budget: The run's limits.
        now_ms: Milliseconds since 1970, by the clock that stamped `created_ms`.
        window: The model's window in tokens, when known.
    """
    if state.is_final:
        return _DONE
    if now_ms - state.paused_ms >= budget.deadline_ms:
        passed = (budget.deadline_ms - state.created.created_ms) / 1000
        doubts = open_doubts(state, "the run expired before the result was stored")
        return Record((*doubts, ev.RunExpired(f"the deadline of {passed:g} s passed")))
    if state.open:
        return _calls(blueprint, state, now_ms)
    if state.rejections >= MAX_REJECTIONS:
        return Record((_gave_up(state),))
    if state.recent and (looped := _loop(state)):
        return looped
    if window and is_due(state, window) and (shorter := shorten(state, window)):
        return shorter
    return _ask(blueprint, state, budget, now_ms)


def _calls(blueprint: Blueprint, state: RunState, now_ms: int) -> Move:
    if len(state.open) == 1 and state.open[0].call.tool in blueprint.early:
        return Call(state.open)
    open_calls = [each for each in state.open if not each.finished]
    doubtful = [each.call.id for each in open_calls if each.in_doubt]
    unreviewed = [each.call for each in open_calls if needs_review(blueprint, each)]
    ready = tuple([each for each in open_calls if not each.in_doubt and each.call not in unreviewed])
    if ready:
        return Call(ready)
    if unreviewed and state.expires_ms is not None and now_ms >= state.expires_ms:
        return Record(tuple([_not_approved(call) for call in unreviewed]))
    if doubtful:
        return Sleep("in_doubt", tuple(doubtful))
    return Sleep("approval", tuple([call.id for call in unreviewed]))


def _not_approved(call: ev.ToolCall) -> ev.CallFinished:
    return ev.CallFinished(call.id, call.tool, NOT_APPROVED, "approval_expired", None, len(NOT_APPROVED))


def _gave_up(state: RunState) -> ev.RunFailed:
    problem = "the model's replies were invalid several times in a row"
    return ev.RunFailed(f"budget_{state.last_turn}" if state.last_turn else "invalid_decisions", problem)


def _loop(state: RunState) -> Move | None:
    """Notice calls that keep giving the same result: first a nudge, then the end."""
    if state.recent.count(state.recent[-1]) < REPEATS and len(state.observed[-1].calls) == 1:
        return None
    if state.last_turn or not (repeated := repeated_calls(state)):
        return None
    if any(key not in state.nudged for key in repeated):
        return Record((ev.Noticed("loop", LOOP_NOTICE),))
    for tool, _arguments, _text in [key for key in repeated if state.recent.count(key) > REPEATS]:
        return Record((ev.RunFailed("loop", f"tool {tool!r} was called again and again with the same result"),))
    return None


def shorten(state: RunState, window: int, *, urgent: bool = False) -> Record | None:
    """Return the compaction that makes room in a window, or `None` when too little can be moved."""
    found = compact(state, window, urgent=urgent)
    return Record((found[0],), found[1]) if found else None


def _ask(blueprint: Blueprint, state: RunState, budget: Budget, now_ms: int) -> Move:
    agent = blueprint.agent
    if state.last_turn is None and (limit := reached(state, budget, now_ms)):
        return Record((ev.BudgetReached(limit, last_turn_notice(limit)),))
    if state.last_turn is None:
        if agent.plan and not state.planned:
            return _side_turn(state, "plan", PLAN_REQUEST, blueprint.plan_constraint)
        if agent.reflect and state.failures and state.reflected < state.step:
            return _side_turn(state, "reflection", REFLECT_REQUEST, blueprint.reflection_constraint)
    if state.messages[-1].role == "assistant":
        return Record((ev.Noticed("carry_on", CARRY_ON),))
    may_call = state.last_turn is None and bool(agent.tools)
    return Ask(state.messages, blueprint.constraint(may_call=may_call, artifacts=state.truncated), may_call=may_call)


def _side_turn(
    state: RunState, kind: Literal["plan", "reflection"], prompt: str, constraint: DecisionConstraint
) -> Ask:
    *before, last = state.messages
    asked = Message("user", f"{last.content}\n{render_notice(prompt)}")
    return Ask((*before, asked), constraint, kind, may_call=False, prompt=prompt)
