"""Keep the prompt inside the model's window: the oldest observations become stubs that name their artifacts.

Done rarely and by much (at three quarters of the window, down to a half), so that between two compactions the
prompt only grows and the engine's prefix cache stays warm. The task and all decisions stay word for word.
"""

from typing import Final

from .events import CallFinished, PromptCompacted
from .state import RunState

START_AT: Final = 0.75
"""Share of the window at which a compaction starts."""

DOWN_TO: Final = 0.5
"""Share of the window that is left behind it."""

CHARS_PER_TOKEN: Final = 3.0
"""Low on purpose: English text has about four, JSON and digits about three."""

STUB_CHARS: Final = 80
"""About the length of a stub."""

WORTH_CHARS: Final = 200
"""Shorter observations stay: their stub would be no shorter."""


def estimated_tokens(state: RunState) -> int:
    """Return about how many tokens the next prompt has: what the endpoint counted, plus the text added since."""
    return state.prompt_tokens + int(state.new_chars / CHARS_PER_TOKEN)


LEAST_GAIN: Final = 0.2
"""A compaction that frees less of the window than this waits until there is no room left without it."""

URGENT_SHARE: Final = 0.3
"""Share of the prompt that goes at least when the endpoint has refused it: our estimate was wrong then."""

FULL_AT: Final = 0.95
"""Share of the window at which even a small gain is taken."""


def is_due(state: RunState, window: int) -> bool:
    """Return whether the prompt has come near to a window of so many tokens."""
    return estimated_tokens(state) > window * START_AT


def compact(state: RunState, window: int, *, urgent: bool = False) -> tuple[PromptCompacted, dict[str, str]] | None:
    """Choose the oldest observations whose removal brings the prompt down to `DOWN_TO` of the window.

    Args:
        state: The run.
        window: The model's window in tokens.
        urgent: Take any gain, however small, as when the endpoint has refused the prompt.

    Returns:
        The event and the artifacts to store before it (id to full text), or `None` when too little can be moved.
    """
    before = estimated_tokens(state)
    chars = sum(len(each.content) for each in state.messages)
    chars_per_token = chars / max(before, 1)
    wanted = (before - window * DOWN_TO) * chars_per_token
    if urgent:
        wanted = max(wanted, chars * URGENT_SHARE)
    moved: dict[str, str] = {}
    texts: dict[str, str] = {}
    freed = 0
    for call in _movable(state, urgent):
        if freed >= wanted:
            break
        artifact = call.artifact or f"o{call.call_id}"
        if call.artifact is None:
            texts[artifact] = call.text
        moved[call.call_id] = artifact
        freed += len(call.text) - STUB_CHARS
    is_enough = urgent or before > window * FULL_AT or freed >= window * LEAST_GAIN * chars_per_token
    return (PromptCompacted(moved, before), texts) if moved and is_enough else None


def _movable(state: RunState, urgent: bool) -> list[CallFinished]:
    """Return observations worth moving, oldest first; the newest ones, which no model has seen yet, only in need."""
    seen = [call for each in state.observed[:-1] for call in each.calls if len(call.text) > WORTH_CHARS]
    if seen or not urgent:
        return seen
    return [call for each in state.observed[-1:] for call in each.calls if len(call.text) > WORTH_CHARS]
