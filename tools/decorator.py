"""`@tool`: make a tool of a typed function."""

import inspect
import math
import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, ParamSpec, TypedDict, TypeVar, Unpack, cast, overload

from ..errors import DefinitionInvalid
from .docstring import parse_docstring
from .schema import read_parameters, refusals
from .tool import Reconcile, Tool, is_async

if TYPE_CHECKING:
    from ..agents.agent import Agent
    from ..planner.events import Effect

P = ParamSpec("P")
T = TypeVar("T")

NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]{0,63}")
_EFFECTS = ("read", "keyed", "once")


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
    agent: "Agent[Any] | None"


@overload
def tool(function: Callable[P, T], /, **options: Unpack[ToolOptions]) -> Tool[P, T]: ...
@overload
def tool(**options: Unpack[ToolOptions]) -> Callable[[Callable[P, T]], Tool[P, T]]: ...
def tool(
    function: Callable[P, T] | None = None, /, **options: Unpack[ToolOptions]
) -> Tool[P, T] | Callable[[Callable[P, T]], Tool[P, T]]:
    """Make a tool of a function: `@tool`, `@tool(effect="read")`, or `tool(bank.balance, effect="read")`.

    Name, description and parameters come from the function's name, Google docstring and annotations.

    Raises:
        DefinitionInvalid: Something is missing or cannot be enforced; all problems are listed.
    """
    if function is not None:
        return _define(function, options)
    return lambda decorated: _define(decorated, options)


def _define(function: Callable[P, T], options: ToolOptions) -> Tool[P, T]:
    given = cast(dict[str, Any], options)
    policy = {key: value for key, value in given.items() if key not in ("name", "description")}
    docs = parse_docstring(_docstring(function))
    name = str(given.get("name") or getattr(function, "__name__", ""))
    description = str(given.get("description") or docs.description)
    problems = [*_label_problems(name, description), *_function_problems(function), *_policy_problems(policy)]
    parameters = read_parameters(function, docs.arguments, problems)
    if parameters is not None:
        problems.extend(f"parameters{each}" for each in refusals(parameters.schema, f"tool {name!r}"))
    if problems or parameters is None:
        raise DefinitionInvalid(f"tool {name!r}", problems)
    return Tool(
        name=name,
        description=description,
        parameters=parameters.schema,
        function=function,
        validator=parameters.validator,
        is_async=is_async(function),
        context_parameter=parameters.context_parameter,
        **policy,
    )


def _docstring(function: Callable[..., Any]) -> str | None:
    """Return the docstring of a function; an object such as a partial speaks for itself only in its own words."""
    if inspect.isroutine(function):
        return inspect.getdoc(function)
    return inspect.getdoc(type(function).__call__) if inspect.isfunction(type(function).__call__) else None


def _label_problems(name: str, description: str) -> Iterator[str]:
    if not NAME.fullmatch(name):
        yield f"name: {name!r} must be a letter or underscore, then up to 63 letters, digits or underscores"
    if not description.strip():
        yield "description: write a docstring, it is what the model reads"


def _function_problems(function: Callable[..., Any]) -> Iterator[str]:
    if inspect.isclass(function):
        yield "function: a class is not a tool; decorate a function"
    elif inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        yield "function: a generator is not a tool; return the whole result"


def _policy_problems(policy: dict[str, Any]) -> Iterator[str]:
    for key in policy:
        if key not in ToolOptions.__annotations__:
            yield f"{key}: there is no such option; the options are {', '.join(ToolOptions.__annotations__)}"
    effect = policy.get("effect", "once")
    if effect not in _EFFECTS:
        yield f"effect: {effect!r} must be one of {', '.join(map(repr, _EFFECTS))}"
    yield from _number_problems(policy)
    if policy.get("retries") and effect == "once":
        yield "retries: a tool with effect 'once' is never repeated; declare effect='keyed' or 'read'"
    if policy.get("cache_ttl_s") is not None and effect != "read":
        yield "cache_ttl_s: only results of effect 'read' can be cached"
    queue = policy.get("queue")
    if queue is not None and (not isinstance(queue, str) or not queue):
        yield f"queue: must be the name of a queue, not {queue!r}"
    yield from _reconcile_problems(policy.get("reconcile"), effect)


def _number_problems(policy: dict[str, Any]) -> Iterator[str]:
    for key in ("timeout_s", "backoff_s", "cache_ttl_s"):
        value = policy.get(key)
        if value is not None and not (_is_number(value, (int, float)) and math.isfinite(value) and value > 0):
            yield f"{key}: must be a positive number of seconds, not {value!r}"
    for key, lowest in (("retries", 0), ("max_result_tokens", 16)):
        value = policy.get(key, lowest)
        if not _is_number(value, int) or value < lowest:
            yield f"{key}: must be a whole number of at least {lowest}, not {value!r}"
    if not isinstance(policy.get("approval", False), bool):
        yield f"approval: must be True or False, not {policy['approval']!r}"


def _reconcile_problems(reconcile: Any, effect: str) -> Iterator[str]:
    if reconcile is None:
        return
    if not callable(reconcile):
        yield f"reconcile: must be a function of the idempotency key, not {reconcile!r}"
    elif effect != "once":
        yield f"reconcile: is asked for effect 'once' only; a {effect!r} call is simply repeated"


def _is_number(value: object, kinds: type | tuple[type, ...]) -> bool:
    return isinstance(value, kinds) and not isinstance(value, bool)
