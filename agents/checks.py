"""Everything that can be wrong with an agent's definition, found at once."""

import inspect
import math
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ..tools import Tool
from . import instructions
from .limits import Limits
from .memory import Memory

if TYPE_CHECKING:
    from .agent import Agent

NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_-]{0,63}")
MAX_SAMPLES = 32
MAX_TEMPERATURE = 5.0


def agent_problems(agent: "Agent[Any]") -> Iterator[str]:
    """Yield `path: message` for everything that is wrong but the output type."""
    if not isinstance(agent.name, str) or not NAME.fullmatch(agent.name):
        yield f"name: {agent.name!r} must be a letter or underscore, then up to 63 letters, digits, '_' or '-'"
    yield from (f"instructions: {each}" for each in instructions.problems(agent.instructions))
    yield from _tool_problems(agent.tools)
    yield from _part_problems("limits", agent.limits, Limits)
    yield from _part_problems("memory", agent.memory, Memory)
    yield from _model_problems(agent.model)
    yield from _resources_problems(agent.resources)
    yield from _planner_problems(agent)


def _tool_problems(tools: Any) -> Iterator[str]:
    if not isinstance(tools, tuple):
        yield f"tools: must be a list of tools, not {type(tools).__name__}"
        return
    seen: dict[str, int] = {}
    for index, each in enumerate(tools):
        where = f"tools[{index}]"
        if not isinstance(each, Tool):
            yield f"{where}: {_no_tool(each)}"
        elif each.name in seen:
            yield f"{where}.name: {each.name!r} is the name of tools[{seen[each.name]}] too"
        else:
            seen[each.name] = index


def _no_tool(value: Any) -> str:
    if hasattr(value, "as_tool"):
        return "an agent becomes a tool by .as_tool()"
    if inspect.isroutine(value):
        return f"the function {value.__name__!r} is no tool; decorate it with @tool"
    return f"a {type(value).__name__} is no tool"


def _part_problems(path: str, part: Any, kind: type[Limits] | type[Memory]) -> Iterator[str]:
    if isinstance(part, kind):
        yield from (f"{path}.{each}" for each in part.problems())
    else:
        yield f"{path}: must be {kind.__name__}(...), not {type(part).__name__}"


def _model_problems(model: Any) -> Iterator[str]:
    if isinstance(model, str) and not model.strip():
        yield "model: must not be empty; None takes the process's own"
    elif model is not None and not isinstance(model, str) and not hasattr(model, "stream"):
        yield f"model: must be a name or an endpoint, not {type(model).__name__}"


def _resources_problems(resources: Any) -> Iterator[str]:
    if resources is None:
        return
    if not callable(resources):
        yield "resources: must be a function that returns an async context manager; its value is opened later"
    elif inspect.isasyncgenfunction(resources) or inspect.iscoroutinefunction(resources):
        yield "resources: decorate the function with @contextlib.asynccontextmanager"


def _planner_problems(agent: "Agent[Any]") -> Iterator[str]:
    for name in ("plan", "reflect"):
        if not isinstance(getattr(agent, name), bool):
            yield f"{name}: must be True or False, not {getattr(agent, name)!r}"
    if type(agent.samples) is not int or not 1 <= agent.samples <= MAX_SAMPLES:
        yield f"samples: must be a whole number from 1 to {MAX_SAMPLES}, not {agent.samples!r}"
    yield from _temperature_problems(agent.temperature)
    if agent.in_doubt not in ("wait", "tell"):
        yield f"in_doubt: {agent.in_doubt!r} must be 'wait' or 'tell'"
    if not isinstance(agent.description, str):
        yield f"description: must be text, not {type(agent.description).__name__}"


def _temperature_problems(temperature: Any) -> Iterator[str]:
    is_number = isinstance(temperature, int | float) and not isinstance(temperature, bool)
    if not is_number or not math.isfinite(temperature) or not 0 <= temperature <= MAX_TEMPERATURE:
        yield f"temperature: must be a number from 0 to {MAX_TEMPERATURE:g}, not {temperature!r}"
