"""The instructions of an agent: text, or a function of the run's context."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True)
class RunContext:
    """What instructions may depend on. They are rendered once per run and journaled.

    Attributes:
        run_id: The run.
        tenant: Whose run it is.
        task: What the user submitted.
        now: When the run started, with time zone, or `None` where it is not known.
        metadata: What the caller attached to the run.
    """

    run_id: str
    tenant: str
    task: Any
    now: datetime | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)


Instructions = str | Callable[[RunContext], str | Awaitable[str]]


async def render(instructions: Instructions, context: RunContext) -> str:
    """Return the instructions as text for one run."""
    raise NotImplementedError
