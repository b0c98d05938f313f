"""One plain schema out of `$ref`, its siblings and `allOf`: the conjunction that JSON Schema means by them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import lcm
from typing import Any, cast
from urllib.parse import unquote

from .refusal import Endless, Unenforceable, child

Raw = Mapping[str, Any]

MAX_RECURSION = 3
"""How often one reference is followed on the way to a value; deeper parts are left out of the decoding grammar."""

ANNOTATIONS = frozenset(
    {"$comment", "$defs", "$id", "$schema", "contentEncoding", "contentMediaType", "contentSchema", "default"}
    | {"definitions", "deprecated", "description", "discriminator", "example", "examples", "readOnly", "title"}
    | {"writeOnly"}
)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a schema stands: its path, and the references followed to get there."""

    path: str
    trail: tuple[str, ...] = ()

    def at(self, *keys: str | int) -> "Place":
        """Return the place below this one."""
        return Place(child(self.path, *keys), self.trail)


def flatten(root: Raw, schema: Any, place: Place) -> tuple[Raw, Place]:
    """Return a schema without `$ref` and `allOf` that means the same, and the place it comes from.

    Raises:
        Unenforceable: A reference cannot be followed, or parts cannot be combined.
    """
    if schema is True or schema == {}:
        return {}, place
    if schema is False:
        raise Unenforceable(place.path, "no value is allowed here", optional=True)
    if not isinstance(schema, Mapping):
        raise Unenforceable(place.path, f"a schema is an object or a boolean, not {type(schema).__name__}")
    plain: Raw = {key: value for key, value in schema.items() if key not in ANNOTATIONS and key not in _JOINED}
    trail = place.trail
    if "$ref" in schema:
        target, target_place = _follow(root, schema["$ref"], place)
        flat, target_place = flatten(root, target, target_place)
        trail = target_place.trail
        plain, place = merge(flat, plain, place.path) if plain else flat, target_place
    for index, part in enumerate(schema.get("allOf", ())):
        flat, part_place = flatten(root, part, Place(child(place.path, "allOf", index), trail))
        plain, trail = merge(plain, flat, part_place.path), part_place.trail
    return plain, Place(place.path, trail)


_JOINED = ("$ref", "allOf")


def _follow(root: Raw, reference: Any, place: Place) -> tuple[Any, Place]:
    path = child(place.path, "$ref")
    if not isinstance(reference, str) or not (reference == "#" or reference.startswith("#/")):
        raise Unenforceable(path, f"{reference!r} is outside the schema or an anchor; point into $defs")
    if place.trail.count(reference) >= MAX_RECURSION:
        raise Endless(path, f"{reference!r} is needed again and again for one value, which would never end")
    target: Any = root
    for part in unquote(reference[1:]).split("/")[1:]:
        key = part.replace("~1", "/").replace("~0", "~")
        target = _step(target, key)
        if target is None:
            raise Unenforceable(path, f"{reference!r} leads nowhere")
    return target, Place(reference, (*place.trail, reference))


def _step(target: Any, key: str) -> Any:
    if isinstance(target, Mapping):
        return target.get(key)
    if isinstance(target, list) and key.isdecimal() and int(key) < len(target):
        return target[int(key)]
    return None


def merge(left: Raw, right: Raw, path: str) -> Raw:
    """Return a schema whose values satisfy both flat schemas.

    Raises:
        Unenforceable: Both use a keyword that cannot be combined.
    """
    if not left or not right:
        return left or right
    if "patternProperties" in left.keys() ^ right.keys():
        raise Unenforceable(path, "patternProperties joined with another schema cannot be enforced")
    left, right = _spread_properties(left, right), _spread_properties(right, left)
    left, right = _spread_items(left, right), _spread_items(right, left)
    merged = {**left, **right}
    for key in left.keys() & right.keys():
        a, b = left[key], right[key]
        if a == b:
            continue
        if (combine := _COMBINED.get(key)) is None:
            raise Unenforceable(child(path, key), f"two different values of {key} apply here; combine them by hand")
        merged[key] = combine(a, b)
        if merged[key] == []:
            raise Unenforceable(child(path, key), f"no value satisfies both {key}s", optional=True)
    if {"anyOf", "oneOf"} <= merged.keys():
        raise Unenforceable(path, "anyOf beside oneOf cannot be enforced; use one of them")
    return merged


def _spread_properties(schema: Raw, other: Raw) -> Raw:
    """Write what a schema says of additional properties at the properties that only the other one names."""
    extra = schema.get("additionalProperties", True)
    if extra is True or not isinstance(other.get("properties"), Mapping):
        return schema
    unknown = [key for key in other["properties"] if key not in schema.get("properties", {})]
    return {**schema, "properties": {**schema.get("properties", {}), **dict.fromkeys(unknown, extra)}}


def _spread_items(schema: Raw, other: Raw) -> Raw:
    """Write what a schema says of further items at the places that only the other one names."""
    head, extra = schema.get("prefixItems", []), schema.get("items", True)
    missing = len(other.get("prefixItems", ())) - len(head)
    return {**schema, "prefixItems": [*head, *[extra] * missing]} if missing > 0 else schema


def _both(a: Any, b: Any) -> Any:
    return {"allOf": [a, b]}


def _types(a: Any, b: Any) -> Any:
    left, right = (value if isinstance(value, list) else [value] for value in (a, b))
    kept = [kind for kind in left if kind in right or (kind == "integer" and "number" in right)]
    kept += [kind for kind in right if kind == "integer" and "number" in left and "integer" not in kept]
    return kept[0] if len(kept) == 1 else kept


def _properties(a: Raw, b: Raw) -> Raw:
    return {key: _both(a[key], b[key]) if key in a and key in b else a.get(key, b.get(key)) for key in {**a, **b}}


def _multiples(a: Any, b: Any) -> Any:
    if isinstance(a, int) and isinstance(b, int):
        return lcm(a, b)
    return max(a, b) if max(a, b) % min(a, b) == 0 else []


_COMBINED: dict[str, Callable[[Any, Any], Any]] = {
    "type": _types,
    "enum": lambda a, b: [value for value in a if value in b],
    "minimum": max,
    "exclusiveMinimum": max,
    "minLength": max,
    "minItems": max,
    "minProperties": max,
    "maximum": min,
    "exclusiveMaximum": min,
    "maxLength": min,
    "maxItems": min,
    "maxProperties": min,
    "multipleOf": _multiples,
    "required": lambda a, b: [*a, *(key for key in b if key not in a)],
    "properties": _properties,
    "items": _both,
    "prefixItems": lambda a, b: [_both(one, other) for one, other in zip(a, b, strict=True)],
    "additionalProperties": _both,
    "propertyNames": _both,
    "anyOf": lambda a, b: [_both(one, other) for one in a for other in b],
    "oneOf": lambda a, b: [],
}


def options_of(schema: Raw) -> tuple[str, list[Any]] | None:
    """Return the union keyword of a flat schema and its options, each joined with what stands beside the union."""
    for key in ("anyOf", "oneOf"):
        if key in schema:
            beside = {name: value for name, value in schema.items() if name != key}
            options = cast(list[Any], schema[key])
            return key, [_both(option, beside) for option in options] if beside else options
    return None
