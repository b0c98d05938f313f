"""Run one call of a tool under its policy and return what the model may read of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .context import Context
from .tool import Reconciled, Tool

if TYPE_CHECKING:
    from ..planner.events import Tokens


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a call.

    Attributes:
        text: The full result, or the failure in words for the model.
        error: Machine-readable reason when the call failed (`tool_error`, `tool_crashed`, `tool_timed_out`,
            `result_invalid`), else `None`.
        size: Length of `text` in characters.
        attempts: How often the function was started.
        latency_ms: Wall time, waits between attempts included.
        unknown: The call was sent and nobody knows whether it took effect.
        usage: Tokens spent inside the call, or `None`.
    """

    text: str
    error: str | None = None
    size: int = 0
    attempts: int = 1
    latency_ms: int = 0
    unknown: bool = False
    usage: "Tokens | None" = None


async def execute(tool: Tool[..., Any], arguments: Mapping[str, Any], context: Context[Any]) -> Outcome:
    """Call a tool with arguments that `Tool.parse` returned, under its timeout and retries.

    Never raises but for cancellation.
    """
    raise NotImplementedError


async def reconcile(tool: Tool[..., Any], key: str) -> Reconciled:
    """Ask the tool what became of an interrupted call; `result` of the answer is text, as in `Outcome.text`.

    Never raises but for cancellation: a callback that is missing, fails or hangs answers `unknown`.
    """
    raise NotImplementedError
