"""The gate at registration: a schema that cannot be enforced, or that would blow up an engine, is refused here.

Cheap structural limits come first, then the reading that decoding itself will use (`bounds`), so that gate and
decoder cannot disagree. Only schemas with patterns, or very large ones, are compiled for trial, in a killable child.
"""

import json
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

from ...errors import SchemaRefused
from . import jail
from .bounds import bounded_text
from .lark import value_grammar
from .leaves import longest
from .refusal import child
from .shapes import Either, Items, Record, Shape, Table, Text, shape_of
from .tameness import is_tame

MAX_BYTES = 64 * 1024
MAX_NESTING = 32
"""Schemas inside one another, as written, references not followed."""

MAX_ENUM = 1000
MAX_PROPERTIES = 200
MAX_CHARS = 1_000_000
"""Longest value that may have to be decoded."""

TRIAL_BYTES = 16 * 1024
"""A bounded schema larger than this is compiled for trial."""


def check_schema(schema: Mapping[str, Any], what: str) -> None:
    """Refuse a schema that cannot be enforced.

    Args:
        schema: The full JSON Schema of a tool's arguments or of an answer.
        what: Whose schema it is, for the message, such as `tool 'search'`.

    Raises:
        SchemaRefused: With the place inside the schema and what to do about it.
    """
    try:
        _check_size(schema)
        _check(json.dumps(schema, ensure_ascii=False, allow_nan=False))
    except SchemaRefused as exc:
        raise SchemaRefused(what, _shortened(exc.path), exc.problem) from exc
    except (TypeError, ValueError, RecursionError) as exc:
        raise SchemaRefused(what, "#", f"not JSON: {exc}") from exc


@lru_cache(maxsize=512)
def _check(schema: str) -> None:
    size = len(schema.encode())
    if size > MAX_BYTES:
        raise SchemaRefused("value", "#", f"{size:,} bytes of schema; at most {MAX_BYTES:,} are accepted")
    text = bounded_text(schema)
    shape = shape_of(json.loads(text))
    if (characters := longest(shape)) > MAX_CHARS:
        problem = f"a value may have {characters:,} characters; bound its arrays and strings (maxItems, maxLength)"
        raise SchemaRefused("value", "#", problem)
    trials: list[tuple[str, Shape]] = list(_wild(shape, "#"))
    if len(text) > TRIAL_BYTES:
        trials.append(("#", shape))
    if trials:
        _try(trials)


def _try(trials: list[tuple[str, Shape]]) -> None:
    """Compile and run the grammars of these parts in a child that can be killed."""
    try:
        jail.run("try_grammars", [value_grammar(shape) for _, shape in trials])
    except jail.JailError as exc:
        path, shape = trials[min(exc.at, len(trials) - 1)]
        advice = "bound its repeats or anchor it with ^ and $" if isinstance(shape, Text) else "make it smaller"
        raise SchemaRefused("value", path, f"the decoder cannot run it ({exc}); {advice}") from exc


def _shortened(path: str) -> str:
    return path if len(path) <= 160 else f"{path[:80]}/.../{path[-70:].partition('/')[2]}"


def _check_size(schema: Any) -> None:
    """Walk the schema as written, without recursion, and refuse what is too deep or too wide."""
    todo: list[tuple[Any, str, int, int]] = [(schema, "#", 0, 0)]
    while todo:
        node, path, nesting, depth = todo.pop()
        if nesting > MAX_NESTING or depth > 4 * MAX_NESTING:
            raise SchemaRefused("value", path, f"nested deeper than {MAX_NESTING} levels; flatten it")
        if isinstance(node, Mapping):
            _check_width(node, path)
            for key, value in node.items():
                todo.append((value, child(path, key), nesting + (key not in _NAMED_PARTS), depth + 1))
        elif isinstance(node, list | tuple):
            todo += [(value, child(path, index), nesting, depth + 1) for index, value in enumerate(node)]


_NAMED_PARTS = frozenset({"properties", "patternProperties", "$defs", "definitions"})
"""Keywords whose members are schemas: the keyword itself is no level of nesting."""


def _check_width(node: Mapping[Any, Any], path: str) -> None:
    for key in node:
        if not isinstance(key, str):
            raise SchemaRefused("value", path, f"keys are strings, not {key!r}")
    for keyword, most in (("enum", MAX_ENUM), ("properties", MAX_PROPERTIES), ("anyOf", MAX_PROPERTIES)):
        value = node.get(keyword)
        if isinstance(value, list | Mapping) and len(value) > most:
            raise SchemaRefused("value", child(path, keyword), f"{len(value):,} entries; at most {most:,} are accepted")


def _wild(shape: Shape, path: str) -> Iterator[tuple[str, Text]]:
    """Return the strings whose pattern might make a large automaton, each with its place."""
    match shape:
        case Text():
            if not is_tame(shape):
                yield child(path, "pattern"), shape
        case Record(fields):
            for field in fields:
                yield from _wild(field.shape, child(path, "properties", field.key))
        case Table(key, value):
            yield from _wild(key, child(path, "propertyNames"))
            yield from _wild(value, child(path, "additionalProperties"))
        case Items(head, rest):
            for index, item in enumerate(head):
                yield from _wild(item, child(path, "prefixItems", index))
            if rest is not None:
                yield from _wild(rest, child(path, "items"))
        case Either(options):
            for index, option in enumerate(options):
                yield from _wild(option, child(path, "anyOf", index))
