"""Begin a run with the first steps of another one: same decisions, same observations, nothing executed again.

A fork takes over what the model has seen, not what happened to the run: claims, waits, intents and ends stay behind,
and so does an announced end of the budget, because the fork has limits of its own.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from ..errors import ForkInvalid
from . import events as ev
from .state import fold

_SEEN = (
    ev.StepDecided, ev.StepRejected, ev.TurnTaken, ev.CallReviewed, ev.CallFinished, ev.Noticed, ev.PromptCompacted,
)  # fmt: skip
"""What shapes the prompt; the head comes from `run.started`."""


def forked(
    events: Sequence[ev.Event], created: ev.RunCreated, step: int, head: str | None = None
) -> tuple[ev.Event, ...]:
    """Return the events that stand behind `created` in the journal of a fork.

    Args:
        events: The journal of the run that is forked, from its first event.
        created: The fork's first event, with the fork's own task, agent and limits.
        step: The last step that is taken over, with all its observations; 0: none, only the head.
        head: The system message, where the fork's agent is another one; `None`: as it was.

    Raises:
        ForkInvalid: There is no such step, it has calls without a result, or it is the answer.
    """
    kept: list[ev.Event] = []
    for event in events:
        if isinstance(event, ev.RunStarted):
            kept.append(event if head is None else replace(event, head=head))
        elif isinstance(event, _SEEN) and step > 0:
            kept.append(event)
        if _is_through(event, kept, created, step):
            return tuple(kept)
    raise ForkInvalid(created.forked_from or "", step, _why(events, step))


def artifacts_of(events: Iterable[ev.Event]) -> tuple[str, ...]:
    """Return the ids of the artifacts that these events refer to, so that they can be copied along."""
    found: dict[str, None] = {}
    for event in events:
        if isinstance(event, ev.CallFinished) and event.artifact:
            found[event.artifact] = None
        elif isinstance(event, ev.PromptCompacted):
            found.update(dict.fromkeys(event.artifacts.values()))
    return tuple(found)


def _is_through(event: ev.Event, kept: Sequence[ev.Event], created: ev.RunCreated, step: int) -> bool:
    """Return whether the last step that is wanted has all its observations with this event."""
    if step == 0:
        return isinstance(event, ev.RunStarted)
    if isinstance(event, ev.StepRejected):
        return event.step == step
    if not isinstance(event, ev.CallFinished) or event.call_id.partition(".")[0] != str(step):
        return False
    return not fold((created, *kept)).open


def _why(events: Sequence[ev.Event], step: int) -> str:
    if step == 0:
        return "the run has not started yet"
    for event in events:
        if isinstance(event, ev.StepDecided) and event.step == step:
            return "it is the answer" if event.answer is not None else "some of its calls have no result yet"
    return "the run has no such step"
