"""A tool: a typed function that a model may call, with the policy under which it is called."""

import hashlib
import inspect
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, Literal, cast

from typing_extensions import ParamSpec as DefaultedParamSpec
from typing_extensions import TypeVar

from ..errors import ArgumentsInvalid
from ..inference.constraints.decision import ToolShape
from .validation import InvalidJson, StrictJson

if TYPE_CHECKING:
    from ..agents.agent import Agent
    from ..planner.events import Effect

P = DefaultedParamSpec("P", default=...)
T = TypeVar("T", default=Any)


@dataclass(frozen=True, slots=True)
class Reconciled:
    """What a tool's `reconcile(key)` found out about a call whose result was lost.

    Attributes:
        state: `done`: it happened, `result` is what the tool would have returned. `not_sent`: it surely did not
            happen and may be sent. `unknown`: nobody can tell.
        result: The tool's result when `state` is `done`.
    """

    state: Literal["done", "not_sent", "unknown"]
    result: Any = None


Reconcile = Callable[[str], Reconciled | Awaitable[Reconciled]]


@dataclass(frozen=True, slots=True, eq=False, repr=False, kw_only=True)
class Tool(Generic[P, T]):
    """A function with its schema and its policy. Made by `@tool`; calling it calls the plain function.

    Attributes:
        name: What the model calls it.
        description: What the model reads about it.
        parameters: Full JSON Schema (draft 2020-12) of its arguments, properties in declared order.
        function: The function.
        is_async: Whether `function` is a coroutine function; any other runs in a thread.
        context_parameter: Name of the parameter that receives the `Context`, or `None`.
        effect: `read`: free to repeat. `keyed`: may be repeated with the same `Context.key`. `once`: never repeated.
        timeout_s: Seconds that one attempt may take.
        retries: Further attempts after a failure; only for `read` and `keyed`.
        backoff_s: Longest wait before the first retry in seconds; doubles each time up to 30 s, drawn at random.
        approval: Whether a person must agree before each call.
        queue: Celery queue whose workers run it, or `None` for the worker of the run.
        cache_ttl_s: Seconds for which an equal call of a `read` tool may be answered from the cache; `None`: never.
        max_result_tokens: Longest result shown to the model; the rest becomes an artifact.
        reconcile: Asked what became of a `once` call that was interrupted, or `None`.
        agent: The agent that a call runs, when the tool was made by `Agent.as_tool`.
        shape: The tool as far as decoding is concerned.
        hash: sha256 of everything that changes what the model sees or what a call means.
    """

    name: str
    description: str
    parameters: Mapping[str, Any]
    function: Callable[P, T]
    validator: StrictJson
    is_async: bool
    context_parameter: str | None = None
    effect: "Effect" = "once"
    timeout_s: float = 30.0
    retries: int = 0
    backoff_s: float = 0.5
    approval: bool = False
    queue: str | None = None
    cache_ttl_s: float | None = None
    max_result_tokens: int = 1000
    reconcile: Reconcile | None = None
    agent: "Agent[Any] | None" = None
    shape: ToolShape = field(init=False)
    hash: str = field(init=False)

    def __post_init__(self) -> None:
        schema = json.dumps(self.parameters, ensure_ascii=False, separators=(",", ":"))
        object.__setattr__(self, "shape", ToolShape(self.name, schema))
        behind = self.agent.hash if self.agent else None
        pinned = (self.name, self.description, schema, self.effect, self.approval, self.max_result_tokens, behind)
        object.__setattr__(self, "hash", hashlib.sha256(json.dumps(pinned).encode()).hexdigest())

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> T:
        """Call the plain function: no validation, no policy."""
        return self.function(*args, **kwargs)

    @property
    def __wrapped__(self) -> Callable[P, T]:
        """The function, where `inspect` looks for it."""
        return self.function

    def __repr__(self) -> str:
        return f"Tool({self.name!r})"

    def parse(self, arguments_json: str) -> dict[str, Any]:
        """Validate the arguments of a call in full and return them as Python values.

        Strict: `"12"` is no integer, dates come as ISO strings, unknown keys and NaN are refused. Keys that are
        left out are missing in the result too, so that the function's own defaults apply.

        Raises:
            ArgumentsInvalid: The text is not JSON, too large, or breaks the schema; every problem is listed.
        """
        try:
            return cast(dict[str, Any], self.validator.parse(arguments_json))
        except InvalidJson as exc:
            raise ArgumentsInvalid(self.name, str(exc)) from None


def is_async(function: Callable[..., Any]) -> bool:
    """Return whether calling this gives a coroutine; also for partials, bound methods and callable objects."""
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(type(function).__call__)
