"""Budgets of a run: what is spent, what is left, and which limit is reached first.

When a budget ends the model gets one last turn in which only an answer can be expressed. The deadline keeps
a tenth of its time back for that turn; past the deadline itself the run expires.
"""

import math
from collections.abc import Mapping
from typing import Final, NamedTuple

from .events import RunCreated, Tokens
from .state import RunState

DEADLINE_RESERVE: Final = 0.1
"""Share of the deadline kept for the last turn."""

_SAYS: Final = {
    "steps": "The budget of steps is used up.",
    "tokens": "The budget of tokens is used up.",
    "tool_calls": "The budget of tool calls is used up.",
    "cost": "The budget of money is used up.",
    "deadline": "The time is nearly over.",
}


class Budget(NamedTuple):
    """The limits of one run as plain numbers; infinity where there is no limit.

    Attributes:
        steps: Steps before the last turn.
        tokens: Tokens that had to be computed: read and not cached, or written.
        tool_calls: Tool calls.
        cost: Money.
        last_turn_ms: Moment, in milliseconds since 1970, at which the last turn is announced.
        deadline_ms: Moment at which the run expires.

    The two moments are those of a run that never waits for a person; `RunState.paused_ms` puts them off.
    """

    steps: float = math.inf
    tokens: float = math.inf
    tool_calls: float = math.inf
    cost: float = math.inf
    last_turn_ms: float = math.inf
    deadline_ms: float = math.inf


def budget_of(created: RunCreated) -> Budget:
    """Return the budget that a run was created with."""
    limits = created.limits
    seconds = _or_infinite(limits, "deadline_s")
    return Budget(
        steps=_or_infinite(limits, "max_steps") - 1,
        tokens=_or_infinite(limits, "max_tokens"),
        tool_calls=_or_infinite(limits, "max_tool_calls"),
        cost=_or_infinite(limits, "max_cost"),
        last_turn_ms=created.created_ms + seconds * 1000 * (1 - DEADLINE_RESERVE),
        deadline_ms=created.created_ms + seconds * 1000,
    )


def reached(state: RunState, budget: Budget, now_ms: int) -> str | None:
    """Return the name of a limit that the run has reached, or `None`."""
    tokens = state.tokens
    if state.step >= budget.steps:
        return "steps"
    if spent(tokens) >= budget.tokens:
        return "tokens"
    if state.tool_calls >= budget.tool_calls:
        return "tool_calls"
    if tokens.cost >= budget.cost:
        return "cost"
    return "deadline" if now_ms - state.paused_ms >= budget.last_turn_ms else None


def spent(tokens: Tokens) -> int:
    """Return the tokens that count: those which had to be computed."""
    return tokens.prompt - tokens.cached + tokens.completion


def seconds_left(state: RunState, budget: Budget, now_ms: int) -> float | None:
    """Return the seconds until the deadline, negative behind it; `None` when the run has no deadline."""
    if budget.deadline_ms == math.inf:
        return None
    return (budget.deadline_ms + state.paused_ms - now_ms) / 1000


def remaining(state: RunState, budget: Budget, now_ms: int) -> dict[str, float | int]:
    """Return what a run started by this one may spend: the limits that exist, each reduced by what is spent."""
    left: dict[str, float | int] = {}
    if budget.steps < math.inf:
        left["max_steps"] = int(budget.steps) + 1
    if budget.tokens < math.inf:
        left["max_tokens"] = max(int(budget.tokens) - spent(state.tokens), 1)
    if budget.tool_calls < math.inf:
        left["max_tool_calls"] = max(int(budget.tool_calls) - state.tool_calls, 0)
    if budget.cost < math.inf:
        left["max_cost"] = max(budget.cost - state.tokens.cost, 1e-9)
    if budget.deadline_ms < math.inf:
        left["deadline_s"] = max((budget.deadline_ms + state.paused_ms - now_ms) / 1000, 0.001)
    return left


def last_turn_notice(limit: str) -> str:
    """Return what the model is told when `limit` is reached."""
    return f"{_SAYS[limit]} No tool can be called any more: answer now with what you have."


def _or_infinite(limits: Mapping[str, float | int | None], name: str) -> float:
    value = limits.get(name)
    return math.inf if value is None else value
