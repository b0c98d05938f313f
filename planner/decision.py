"""Read a model's reply as a decision: tool calls, or an answer.

The reply is trusted in nothing: the shape is checked here, the arguments by the tool, the answer by the agent's
output type, whatever constraint the engine promised. A reply in a Markdown fence or with text around its JSON
object is repaired, for endpoints that cannot be constrained.
"""

import json
import re
from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

from pydantic_core import from_json, to_json

from ..errors import DecisionInvalid
from ..inference.constraints.decision import MAX_CALLS
from .events import ToolCall

_FRACTION = re.compile(r"[0-9][.eE]")
"""Numbers that lose digits on their way through a float."""

NAME_CHARS = 64
"""Longest name of a tool."""

MAX_REPLY_CHARS = 1_000_000
"""Longest reply that is looked at. Arguments have a smaller bound of their own, see `Tool.parse`."""


class Decision(NamedTuple):
    """A reply that has the shape of a decision.

    Attributes:
        text: The reply as later prompts show it: the model's own bytes unless it had to be repaired.
        calls: Calls with ids; empty for an answer.
        answer: JSON text of the answer, or `None`.
    """

    text: str
    calls: tuple[ToolCall, ...]
    answer: str | None


def read_decision(text: str, step: int, *, may_call: bool = True) -> Decision:
    """Return the decision in a reply.

    Args:
        text: The whole reply.
        step: Number of this step, for the ids of its calls.
        may_call: Whether calls are allowed in this turn.

    Raises:
        DecisionInvalid: No decision can be read; `problem` tells the model what to mend.
    """
    value, shown = _object(text)
    if "answer" in value:
        return _answer(value, shown)
    calls = value.get("calls")
    if not isinstance(calls, list) or not calls:
        raise DecisionInvalid('it needs a list "calls" with at least one call, or an "answer".', shown)
    if not may_call:
        raise DecisionInvalid('no tool can be called now: give an "answer".', shown)
    if len(calls) > MAX_CALLS:
        raise DecisionInvalid(f"it has {len(calls)} calls, the most is {MAX_CALLS}.", shown)
    _no_other(value, ("thought", "calls"), shown)
    found = tuple([_call(each, step, at, shown) for at, each in enumerate(calls, 1)])
    if any(_FRACTION.search(each.arguments) for each in found):
        found = as_written(shown, found)
    return Decision(shown, found, None)


def check_side_turn(kind: Literal["plan", "reflection"], decision: Decision) -> None:
    """Check the answer of a turn that is not a step: a plan is a list of lines, a reflection is text.

    Raises:
        DecisionInvalid: It is something else.
    """
    answer = from_json(decision.answer or "null")
    if kind == "plan" and not (isinstance(answer, list) and answer and all(isinstance(each, str) for each in answer)):
        raise DecisionInvalid("the answer of this turn is a list of lines, one a step.", decision.text)
    if kind == "reflection" and not isinstance(answer, str):
        raise DecisionInvalid("the answer of this turn is text.", decision.text)


def _object(text: str) -> tuple[dict[str, Any], str]:
    if len(text) > MAX_REPLY_CHARS:
        raise DecisionInvalid(f"it is longer than {MAX_REPLY_CHARS} characters.", text[:MAX_REPLY_CHARS])
    try:
        value = from_json(text, allow_inf_nan=False)
        shown = text
    except (ValueError, TypeError) as exc:  # TypeError: a lone surrogate
        value, shown = _repaired(text, exc)
    if not isinstance(value, dict):
        raise DecisionInvalid("it is not a JSON object.", text)
    if not isinstance(value.get("thought", ""), str):
        raise DecisionInvalid('"thought" is not a string.', text)
    return value, shown


def _repaired(text: str, problem: Exception) -> tuple[Any, str]:
    """Read the outermost object of a reply with other text around it."""
    start, end = text.find("{"), text.rfind("}")
    if start > 0 or 0 <= start < end < len(text) - 1:
        try:
            value = from_json(text[start : end + 1], allow_inf_nan=False)
            return value, to_json(value).decode()
        except (ValueError, TypeError):
            pass
    where = "it ends too early" if end < 0 or "EOF" in str(problem) else "it is not JSON"
    raise DecisionInvalid(f"{where}: {problem}.", text) from problem


def _answer(value: dict[str, Any], shown: str) -> Decision:
    _no_other(value, ("thought", "answer"), shown)
    return Decision(shown, (), to_json(value["answer"]).decode())


def _call(value: Any, step: int, at: int, shown: str) -> ToolCall:
    if not isinstance(value, dict):
        raise DecisionInvalid(f"calls[{at - 1}] is not an object.", shown)
    tool, arguments = value.get("tool"), value.get("arguments")
    if not isinstance(tool, str) or not isinstance(arguments, dict) or len(value) != 2:
        raise DecisionInvalid(f'calls[{at - 1}] needs exactly "tool", a name, and "arguments", an object.', shown)
    if not (tool.isidentifier() and tool.isascii() and len(tool) <= NAME_CHARS):
        raise DecisionInvalid(f"calls[{at - 1}].tool is not the name of a tool.", shown)
    return ToolCall(f"{step}.{at}", tool, to_json(arguments).decode())


def _no_other(value: dict[str, Any], known: tuple[str, str], shown: str) -> None:
    if len(value) != 2 or known[0] not in value:
        if all(key in known for key in value):
            return
        extra = ", ".join(sorted(repr(key[:40]) for key in value if key not in known)[:5])
        raise DecisionInvalid(f"it has keys that do not belong there: {extra}.", shown)


def as_written(text: str, calls: tuple[ToolCall, ...]) -> tuple[ToolCall, ...]:
    """Return the calls with the arguments' own characters, so that no digit of a number is lost on the way.

    Args:
        text: A decision that has been read already, so its shape is known.
        calls: Its calls.
    """
    written = dict(_members(text, 0))
    starts = _elements(text, written["calls"][0])
    cut = [dict(_members(text, start))["arguments"] for start in starts]
    return tuple([ToolCall(call.id, call.tool, text[start:end]) for call, (start, end) in zip(calls, cut, strict=True)])


def _members(text: str, at: int) -> Iterator[tuple[str, tuple[int, int]]]:
    """Yield key, start and end of the value of each member of the object that begins at or behind `at`."""
    at = text.index("{", at) + 1
    while text[at := _skip(text, at)] != "}":
        key, at = _DECODER.raw_decode(text, _skip(text, at))
        start = _skip(text, text.index(":", at) + 1)
        _value, at = _DECODER.raw_decode(text, start)
        yield key, (start, at)
        at = _skip(text, at)
        at += text[at] == ","


def _elements(text: str, at: int) -> Iterator[int]:
    """Yield the start of each element of the array that begins at `at`."""
    at = text.index("[", at) + 1
    while text[at := _skip(text, at)] != "]":
        yield at
        _value, at = _DECODER.raw_decode(text, at)
        at = _skip(text, at)
        at += text[at] == ","


def _skip(text: str, at: int) -> int:
    """Return the place of the next character that is no white space."""
    while text[at] in " \t\r\n":
        at += 1
    return at


_DECODER = json.JSONDecoder()
