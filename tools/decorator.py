"""`@tool`: make a tool of a typed function."""

from collections.abc import Callable
from typing import TYPE_CHECKING, ParamSpec, TypedDict, TypeVar, Unpack, overload

from .tool import Reconcile, Tool

if TYPE_CHECKING:
    from ..planner.events import Effect

P = ParamSpec("P")
T = TypeVar("T")


class ToolOptions(TypedDict, total=False):
    """Options of `@tool`; each is explained at the attribute of `Tool` that bears its name."""

    name: str
    description: str
    effect: "Effect"
    timeout_s: float
    retries: int
    backoff_s: float
    approval: bool
    queue: str | None
    cache_ttl_s: float | None
    max_result_tokens: int
    reconcile: Reconcile | None


@overload
def tool(function: Callable[P, T], /, **options: Unpack[ToolOptions]) -> Tool[P, T]: ...
@overload
def tool(**options: Unpack[ToolOptions]) -> Callable[[Callable[P, T]], Tool[P, T]]: ...
def tool(
    function: Callable[P, T] | None = None, /, **options: Unpack[ToolOptions]
) -> Tool[P, T] | Callable[[Callable[P, T]], Tool[P, T]]:
    """Make a tool of a function: `@tool`, `@tool(effect="read")`, or `tool(bank.balance, effect="read")`.

    Raises:
        DefinitionInvalid: Something is missing or cannot be enforced; all problems are listed.
    """
    raise NotImplementedError
