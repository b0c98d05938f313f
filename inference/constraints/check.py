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
from .compiler import is_tame, segment_regex
from .lark import value_grammar
from .refusal import child
from .shapes import Either, Items, Record, Shape, Table, Text, shape_of
from .walk import Free

MAX_BYTES = 64 * 1024
MAX_NESTING = 32
"""Schemas inside one another, as written, references not followed."""

MAX_ENUM = 1000
MAX_PROPERTIES = 200
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
        raise SchemaRefused(what, exc.path, exc.problem) from exc
    except (TypeError, ValueError, RecursionError) as exc:
        raise SchemaRefused(what, "#", f"not JSON: {exc}") from exc


@lru_cache(maxsize=4096)
def _check(schema: str) -> None:
    size = len(schema.encode())
    if size > MAX_BYTES:
        raise SchemaRefused("value", "#", f"{size:,} bytes of schema; at most {MAX_BYTES:,} are accepted")
    text = bounded_text(schema)
    shape = shape_of(json.loads(text))
    for path, wild in _wild(shape, "#"):
        regex = segment_regex(Free(wild))
        ran, reason = jail.run("check_regex", regex) if regex else (True, "")
        if not ran:
            problem = f"the pattern cannot be compiled ({reason}); bound its repeats or anchor it with ^ and $"
            raise SchemaRefused("value", path, problem)
    if len(text) > TRIAL_BYTES or any(True for _ in _wild(shape, "#")):
        ran, reason = jail.run("check_grammar", value_grammar(shape))
        if not ran:
            raise SchemaRefused("value", "#", f"its grammar cannot be compiled ({reason}); make it smaller")


def _check_size(schema: Any) -> None:
    """Walk the schema as written, without recursion, and refuse what is too deep or too wide."""
    todo: list[tuple[Any, str, int]] = [(schema, "#", 0)]
    while todo:
        node, path, depth = todo.pop()
        if depth > 2 * MAX_NESTING:
            raise SchemaRefused("value", path, f"nested deeper than {MAX_NESTING} levels; flatten it")
        if isinstance(node, Mapping):
            _check_width(node, path)
            todo += [(value, child(path, key), depth + 1) for key, value in node.items()]
        elif isinstance(node, list | tuple):
            todo += [(value, child(path, index), depth + 1) for index, value in enumerate(node)]


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
