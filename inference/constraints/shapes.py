"""The few forms that a decodable JSON value can take, as frozen values.

A bounded schema (`bounds.py`) is read into a tree of these shapes once; grammar, walk, sampling and length
estimates are all written against the tree, so that they cannot disagree about what is allowed.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any


@dataclass(frozen=True, slots=True)
class Literals:
    """One of a few fixed values, each as its compact JSON text."""

    texts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Integer:
    """A multiple of `step` between `low` and `high`, both included."""

    low: int
    high: int
    step: int = 1


@dataclass(frozen=True, slots=True)
class Fixed:
    """A decimal between `low` and `high`, both included, with at most `places` digits after the point."""

    low: Decimal
    high: Decimal
    places: int


@dataclass(frozen=True, slots=True)
class Text:
    """A string of `least` to `most` characters, of a format or matching a normalised pattern where given."""

    least: int
    most: int
    pattern: str | None = None
    format: str | None = None


@dataclass(frozen=True, slots=True)
class Field:
    """One property of a record."""

    key: str
    shape: "Shape"
    required: bool

    @property
    def key_text(self) -> str:
        """The key as JSON text with its colon."""
        return json_text(self.key) + ":"


@dataclass(frozen=True, slots=True)
class Record:
    """An object with known properties, always written in this order."""

    fields: tuple[Field, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """An object with free keys and values of one shape."""

    key: Text
    value: "Shape"
    least: int
    most: int


@dataclass(frozen=True, slots=True)
class Items:
    """An array: the shapes of its first places, then `rest` until `most` items."""

    head: tuple["Shape", ...]
    rest: "Shape | None"
    least: int
    most: int

    def at(self, index: int) -> "Shape":
        """Return the shape of the item at this place."""
        if index < len(self.head):
            return self.head[index]
        assert self.rest is not None
        return self.rest


@dataclass(frozen=True, slots=True)
class Either:
    """A value of any of these shapes."""

    options: tuple["Shape", ...]


Shape = Literals | Integer | Fixed | Text | Record | Table | Items | Either


def json_text(value: Any) -> str:
    """Return a value as the compact JSON text that the grammar allows."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def shape_of(bounded: Mapping[str, Any]) -> Shape:
    """Read a schema that `bounds.bounded` returned."""
    if "const" in bounded:
        return Literals((json_text(bounded["const"]),))
    if "enum" in bounded:
        return Literals(tuple(json_text(value) for value in bounded["enum"]))
    if "anyOf" in bounded:
        return Either(tuple(shape_of(option) for option in bounded["anyOf"]))
    return _BY_TYPE[bounded["type"]](bounded)


def _integer(schema: Mapping[str, Any]) -> Shape:
    return Integer(schema["minimum"], schema["maximum"], schema.get("multipleOf", 1))


def _fixed(schema: Mapping[str, Any]) -> Shape:
    low, high = Decimal(repr(schema["minimum"])), Decimal(repr(schema["maximum"]))
    return Fixed(low, high, -int(Decimal(repr(schema["multipleOf"])).normalize().as_tuple().exponent))


def _text(schema: Mapping[str, Any]) -> Text:
    return Text(schema.get("minLength", 0), schema["maxLength"], schema.get("pattern"), schema.get("format"))


def _object(schema: Mapping[str, Any]) -> Shape:
    value = schema["additionalProperties"]
    if isinstance(value, Mapping):
        return Table(_text(schema["propertyNames"]), shape_of(value), schema["minProperties"], schema["maxProperties"])
    required = set(schema["required"])
    return Record(tuple(Field(key, shape_of(sub), key in required) for key, sub in schema["properties"].items()))


def _items(schema: Mapping[str, Any]) -> Shape:
    head = tuple(shape_of(sub) for sub in schema.get("prefixItems", ()))
    rest = schema.get("items", False)
    return Items(head, shape_of(rest) if rest is not False else None, schema["minItems"], schema["maxItems"])


_BY_TYPE = {
    "null": lambda _: Literals(("null",)),
    "boolean": lambda _: Literals(("true", "false")),
    "integer": _integer,
    "number": _fixed,
    "string": _text,
    "object": _object,
    "array": _items,
}
