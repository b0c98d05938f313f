"""Fixed values: whether one satisfies the keywords beside it, and whether two options can share a value."""

import json
import re
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from .formats import FORMATS
from .merging import Place, Raw, flatten
from .refusal import Unenforceable

_ALL = frozenset({"string", "integer", "number", "boolean", "null", "array", "object"})


def kind_of(value: Any) -> str:
    """Return the JSON type of a value; a whole number is an integer."""
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case int():
            return "integer"
        case float():
            return "integer" if value.is_integer() else "number"
        case str():
            return "string"
        case Mapping():
            return "object"
        case _:
            return "array"


def fits(value: Any, schema: Raw) -> bool:
    """Return whether a fixed value satisfies the scalar keywords of a flat schema."""
    kind = kind_of(value)
    allowed = schema.get("type", list(_ALL))
    allowed = [allowed] if isinstance(allowed, str) else allowed
    if kind not in allowed and not (kind == "integer" and "number" in allowed):
        return False
    if "enum" in schema and json.dumps(value) not in [json.dumps(other) for other in schema["enum"]]:
        return False
    if isinstance(value, str):
        return _is_such_a_text(value, schema)
    if kind in ("integer", "number"):
        return _in_range(Decimal(repr(value)), schema)
    return True


def _is_such_a_text(value: str, schema: Raw) -> bool:
    if not schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", len(value)):
        return False
    known = FORMATS.get(schema.get("format", ""))
    if known is not None and re.fullmatch(known, value) is None:
        return False
    return "pattern" not in schema or re.search(schema["pattern"], value) is not None


def _in_range(value: Decimal, schema: Raw) -> bool:
    def bound(keyword: str) -> Decimal | None:
        return Decimal(repr(schema[keyword])) if keyword in schema else None

    low, high = bound("minimum"), bound("maximum")
    above, below, step = bound("exclusiveMinimum"), bound("exclusiveMaximum"), bound("multipleOf")
    return not (
        (low is not None and value < low)
        or (high is not None and value > high)
        or (above is not None and value <= above)
        or (below is not None and value >= below)
        or (step is not None and value % step != 0)
    )


def may_overlap(root: Raw, left: Raw, right: Raw) -> bool:
    """Return whether some value may satisfy both flat schemas; true when in doubt."""
    common = _types(left) & _types(right)
    if not common:
        return False
    ours, theirs = _values(left), _values(right)
    if ours is not None and theirs is not None:
        return not ours.isdisjoint(theirs)
    return common != {"object"} or not _told_apart(root, left, right)


def _types(schema: Raw) -> set[str]:
    """Return the types a schema allows, with integers spelled out beside numbers."""
    for key in ("const", "enum"):
        if key in schema:
            values = schema["enum"] if key == "enum" else [schema["const"]]
            return {kind_of(value) for value in values}
    given = schema.get("type")
    if given is None:
        inner: Iterable[Any] = schema.get("anyOf", schema.get("oneOf", ()))
        kinds = [_types(option) for option in inner if isinstance(option, Mapping) and "$ref" not in option]
        return set().union(*kinds) if inner and len(kinds) == len(list(inner)) else set(_ALL)
    named = {given} if isinstance(given, str) else set(given)
    return named | {"integer"} if "number" in named else named


def _values(schema: Raw) -> set[str] | None:
    if "const" in schema:
        return {json.dumps(schema["const"])}
    return {json.dumps(value) for value in schema["enum"]} if "enum" in schema else None


def _told_apart(root: Raw, left: Raw, right: Raw) -> bool:
    """Return whether a property that one of them requires has fixed values that differ between them."""
    ours, theirs = left.get("properties", {}), right.get("properties", {})
    required = {*left.get("required", ()), *right.get("required", ())}
    for key in required & ours.keys() & theirs.keys():
        try:
            mine, others = (flatten(root, side[key], Place("#"))[0] for side in (ours, theirs))
        except Unenforceable:
            continue
        if not may_overlap(root, mine, others):
            return True
    return False
