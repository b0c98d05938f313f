"""The instructions of an agent: text, or a function of the run's context."""

import hashlib
import inspect
import textwrap
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import CodeType
from typing import Any

from ..errors import DefinitionInvalid


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
    """Return the instructions as text for one run.

    Raises:
        DefinitionInvalid: The function returned no text. What it raises itself passes through.
    """
    if isinstance(instructions, str):
        return instructions
    text = instructions(context)
    if inspect.isawaitable(text):
        text = await text
    if not isinstance(text, str) or not text.strip():
        raise DefinitionInvalid("the agent", [f"instructions: the function returned no text but {type(text).__name__}"])
    return text


def problems(instructions: Any) -> Iterator[str]:
    """Yield what is wrong with instructions."""
    if isinstance(instructions, str):
        if not instructions.strip():
            yield "must not be empty"
    elif not callable(instructions):
        yield f"must be text or a function of the run's context, not {type(instructions).__name__}"
    else:
        try:
            inspect.signature(instructions).bind(None)
        except TypeError:
            yield "the function must take one argument, the run's context"
        except ValueError:
            pass  # a callable without a signature is taken at its word


def fingerprint(instructions: Instructions) -> str:
    """Return text that changes when the instructions do: themselves, or a function's name and source."""
    if isinstance(instructions, str):
        return instructions
    function: Any = instructions if inspect.isroutine(instructions) else type(instructions)
    try:
        source = textwrap.dedent(inspect.getsource(function))
    except (OSError, TypeError):
        code = getattr(function, "__code__", None)
        source = "\n".join(_code_parts(code)) if isinstance(code, CodeType) else ""
    return f"{function.__qualname__}:{hashlib.sha256(source.encode()).hexdigest()}"


def _code_parts(code: CodeType) -> Iterator[str]:
    """Yield what a function without source does, free of addresses and of the order of sets."""
    yield code.co_code.hex()
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _code_parts(constant)
        else:
            yield repr(sorted(map(repr, constant)) if isinstance(constant, frozenset) else constant)
