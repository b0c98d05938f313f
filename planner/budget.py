"""Budgets of a run: what is spent, what is left, and which limit is reached first.

When a budget ends the model gets one last turn in which only an answer can be expressed. The deadline keeps
a tenth of its time back for that turn; past the deadline itself the run expires.
"""

from collections.abc import Mapping
from typing import Final

from .state import RunState

DEADLINE_RESERVE: Final = 0.1
"""Share of the deadline kept for the last turn."""

Limits = Mapping[str, float | int | None]

_SAYS: Final = {
    "steps": "The budget of steps is used up.",
    "tokens": "The budget of tokens is used up.",
    "tool_calls": "The budget of tool calls is used up.",
    "cost": "The budget of money is used up.",
    "deadline": "The time is nearly over.",
}


def reached(state: RunState, limits: Limits, now_ms: int) -> str | None:
    """Return the name of a limit that the run has reached, or `None`.

    Args:
        state: The run.
        limits: `max_steps`, `max_tokens`, `max_tool_calls`, `max_cost`, `deadline_s`; `None` means no limit.
        now_ms: Milliseconds since 1970.
    """
    steps, calls, cost = limits.get("max_steps"), limits.get("max_tool_calls"), limits.get("max_cost")
    if steps is not None and state.step >= steps - 1:
        return "steps"
    tokens = limits.get("max_tokens")
    if tokens is not None and state.tokens.prompt - state.tokens.cached + state.tokens.completion >= tokens:
        return "tokens"
    if calls is not None and state.tool_calls >= calls:
        return "tool_calls"
    if cost is not None and state.tokens.cost >= cost:
        return "cost"
    left = seconds_left(state, limits, now_ms)
    if left is not None and left <= float(limits["deadline_s"] or 0) * DEADLINE_RESERVE:
        return "deadline"
    return None


def seconds_left(state: RunState, limits: Limits, now_ms: int) -> float | None:
    """Return the seconds until the deadline, negative behind it; `None` when the run has no deadline."""
    deadline_s = limits.get("deadline_s")
    return None if deadline_s is None else deadline_s - (now_ms - state.created.created_ms) / 1000


def remaining(state: RunState, limits: Limits, now_ms: int) -> dict[str, float | int | None]:
    """Return what a run started by this one may spend: limits, each reduced by what is spent."""
    spent: dict[str, float] = {
        "max_tokens": state.tokens.prompt - state.tokens.cached + state.tokens.completion,
        "max_tool_calls": state.tool_calls,
        "max_cost": state.tokens.cost,
    }
    left: dict[str, float | int | None] = {"max_steps": limits.get("max_steps")}
    for name, used in spent.items():
        limit = limits.get(name)
        left[name] = None if limit is None else max(limit - used, 0)
    seconds = seconds_left(state, limits, now_ms)
    left["deadline_s"] = None if seconds is None else max(seconds, 0.0)
    return left


def last_turn_notice(limit: str) -> str:
    """Return what the model is told when `limit` is reached."""
    return f"{_SAYS[limit]} No tool can be called any more: answer now with what you have."
