"""The path language of `query_json`: read a path once, then walk a document with it.

It is the part of JSONPath (RFC 9535) that models write without being taught, and JSON Pointer (RFC 6901). There is
no recursive descent and no script, so a walk is linear in the document.
"""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from typing import Any, Literal

from ...errors import ToolError

MAX_STEPS = 32
SHOWN_KEYS = 20
ACCEPTED = "key.key, [0], [0:3], [*], ['key'], [?field>value]"

_STEP = re.compile(
    r"""\.?\[\s*(?P<index>-?[0-9]{1,9})\s*\]
    | \.?\[\s*(?P<start>-?[0-9]{0,9})\s*:\s*(?P<stop>-?[0-9]{0,9})\s*\]
    | \.?\[\s*(?:"(?P<double>(?:[^"\\]|\\.)*)"|'(?P<single>[^'\\]*)')\s*\]
    | \.?\[\?\s*\(?\s*(?:@\.)?(?P<field>[\w.-]+|@)\s*(?:(?P<operator>[=!<>]=|[=<>])\s*(?P<value>[^\]]*?))?\s*\)?\s*\]
    | \.?(?P<all>\[\s*\*\s*\]|\*)
    | \.?(?P<key>[^\s.\[\]|*?'"]+)""",
    re.VERBOSE,
)


@dataclass(frozen=True)
class Step:
    """One step of a path: to a key, to an index, or to every child that `select` picks."""

    kind: Literal["key", "index", "branch"]
    key: str = ""
    index: int = 0
    select: Callable[[list[Any]], list[Any]] = list


def parse_path(path: str) -> list[Step]:
    """Read a path such as `$.books[?price>10].title`, or `/books/0/title`.

    Raises:
        ToolError: The path cannot be read; the place and the accepted forms are named.
    """
    if path.startswith("/"):
        return [Step("key", part.replace("~1", "/").replace("~0", "~")) for part in path[1:].split("/")]
    text = "" if path == "." else path.removeprefix("$")
    steps: list[Step] = []
    position = 0
    while position < len(text):
        match = _STEP.match(text, position)
        if match is None:
            raise ToolError(f"cannot read the query at {text[position : position + 20]!r}; accepted are {ACCEPTED}")
        if len(steps) == MAX_STEPS:
            raise ToolError(f"the query has more than {MAX_STEPS} steps")
        steps.append(_step(match))
        position = match.end()
    return steps


def walk(root: Any, steps: list[Step]) -> Any:
    """Return the value at a path, or the list of values when the path branches.

    A key that is missing is an error on a single path; behind a branch, such items are left out.

    Raises:
        ToolError: There is no such place; what stands there instead is described.
    """
    values, branched = [root], False
    for step in steps:
        if step.kind == "branch":
            values, branched = [child for value in values for child in _children(value, step, branched)], True
            continue
        found = [child for value in values for child in _child(value, step)]
        if not branched and not found:
            name = repr(step.key[:60]) if step.kind == "key" else f"[{step.index}]"
            raise ToolError(f"there is no {name} in {describe(values[0])}")
        values = found
    return values if branched else values[0]


def describe(value: Any) -> str:
    """Return what a value is, in words, with the keys of an object."""
    if isinstance(value, dict):
        keys = ", ".join(key[:40] for key in islice(value, SHOWN_KEYS)) or "none"
        return f"an object with the keys {keys}" + (", …" if len(value) > SHOWN_KEYS else "")
    if isinstance(value, list):
        return f"a list of {len(value)} items"
    return {str: "a text", bool: "true or false", type(None): "null"}.get(type(value), "a number")


def is_number(value: Any) -> bool:
    """Say whether a JSON value is a number; `true` is none."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def _step(match: re.Match[str]) -> Step:
    if match["all"]:
        return Step("branch")
    if match["index"]:
        return Step("index", index=int(match["index"]))
    if match["start"] is not None:
        start, stop = (int(text) if text.strip("-") else None for text in (match["start"], match["stop"]))
        return Step("branch", select=lambda items: items[start:stop])
    if match["field"]:
        passes = _filter(match["field"], match["operator"] or "", match["value"] or "")
        return Step("branch", select=lambda items: [item for item in items if passes(item)])
    if match["double"] is not None:
        try:
            return Step("key", str(json.loads(f'"{match["double"]}"')))
        except ValueError:
            raise ToolError(f"cannot read the key {match['double'][:30]!r}") from None
    return Step("key", match["key"] if match["single"] is None else match["single"])


def _filter(field: str, operator: str, text: str) -> Callable[[Any], bool]:
    keys = [] if field == "@" else field.split(".")
    wanted = _literal(text) if operator else None

    def passes(item: Any) -> bool:
        for key in keys:
            if not isinstance(item, dict) or key not in item:
                return False
            item = item[key]
        return not operator or _COMPARISONS[operator](item, wanted)

    return passes


def _literal(text: str) -> Any:
    """Return the value that a filter compares with; a bare word counts as text."""
    if text[:1] == "'" and text[-1:] == "'" and len(text) > 1:
        return text[1:-1]
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _same(left: Any, right: Any) -> bool:
    return bool(left == right) and isinstance(left, bool) == isinstance(right, bool)


def _ordered(compare: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    """Compare numbers with numbers and text with text; anything else does not pass."""

    def passes(left: Any, right: Any) -> bool:
        numbers, texts = is_number(left) and is_number(right), isinstance(left, str) and isinstance(right, str)
        return (numbers or texts) and compare(left, right)

    return passes


_COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "=": _same,
    "==": _same,
    "!=": lambda left, right: not _same(left, right),
    "<": _ordered(lambda left, right: left < right),
    "<=": _ordered(lambda left, right: left <= right),
    ">": _ordered(lambda left, right: left > right),
    ">=": _ordered(lambda left, right: left >= right),
}


def _child(value: Any, step: Step) -> list[Any]:
    """Return the one child, or nothing."""
    if isinstance(value, dict):
        key = step.key if step.kind == "key" else str(step.index)
        return [value[key]] if key in value else []
    if isinstance(value, list):
        index = step.index
        if step.kind == "key":
            if not re.fullmatch(r"[0-9]{1,9}", step.key):
                return []
            index = int(step.key)
        return [value[index]] if -len(value) <= index < len(value) else []
    return []


def _children(value: Any, step: Step, branched: bool) -> list[Any]:
    if isinstance(value, dict):
        return step.select(list(value.values()))
    if isinstance(value, list):
        return step.select(value)
    if branched:
        return []
    raise ToolError(f"[*], [0:3] and filters need a list or an object, but find {describe(value)}")
