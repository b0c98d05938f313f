"""The decoding relative: every value it allows, the full schema allows."""

import json
import random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from loopwright.errors import SchemaRefused
from loopwright.inference.constraints.bounds import bounded
from loopwright.inference.constraints.sampling import random_value
from loopwright.inference.constraints.validate import validator

Schemas = st.SearchStrategy[dict[str, Any]]
INTEGER = {"type": "integer", "minimum": -999999999999999, "maximum": 999999999999999}

CASES: dict[str, tuple[Any, Any]] = {
    "a string gets a length": ({"type": "string", "title": "T"}, {"type": "string", "maxLength": 200}),
    "a smaller length stays": ({"type": "string", "maxLength": 9}, {"type": "string", "maxLength": 9}),
    "a giant length is cut": ({"type": "string", "maxLength": 10**6}, {"type": "string", "maxLength": 1000}),
    "an integer gets digits": ({"type": "integer"}, INTEGER),
    "exclusive bounds move by one": (
        {"type": "integer", "exclusiveMinimum": 1, "exclusiveMaximum": 4.5},
        {"type": "integer", "minimum": 2, "maximum": 4},
    ),
    "multiples in a small range are listed": (
        {"type": "integer", "minimum": 1, "maximum": 20, "multipleOf": 7},
        {"enum": [7, 14]},
    ),
    "quarters are listed": (
        {"type": "number", "minimum": 0, "maximum": 0.6, "multipleOf": 0.25},
        {"enum": [0, 0.25, 0.5]},
    ),
    "a decimal gets places": (
        {"type": "number", "exclusiveMinimum": 0, "maximum": 1.5},
        {"type": "number", "minimum": 1e-06, "maximum": 1.5, "multipleOf": 1e-06},
    ),
    "a narrow decimal gets more places": (
        {"type": "number", "minimum": 1.1e-7, "maximum": 1.9e-7},
        {"type": "number", "minimum": 1.1e-07, "maximum": 1.9e-07, "multipleOf": 1e-08},
    ),
    "an array gets a length": (
        {"type": "array", "items": {"type": "null"}},
        {"type": "array", "items": {"type": "null"}, "minItems": 0, "maxItems": 8},
    ),
    "references beside keywords are joined": (
        {"$defs": {"n": {"type": "integer", "minimum": 3}}, "$ref": "#/$defs/n", "maximum": 9},
        {"type": "integer", "minimum": 3, "maximum": 9},
    ),
    "a type list becomes a union": ({"type": ["null", "integer"]}, {"anyOf": [{"type": "null"}, INTEGER]}),
    "an enum is cut to its type": ({"type": "string", "enum": ["a", 1, "b"]}, {"enum": ["a", "b"]}),
    "an enum is cut to its format": (
        {"type": "string", "format": "date", "enum": ["a", "2024-02-29"]},
        {"const": "2024-02-29"},
    ),
    "an empty tool takes no arguments": (
        {"type": "object", "properties": {}},
        {"type": "object", "properties": {}, "required": [], "additionalProperties": False},
    ),
    "no unevaluated properties are none": (
        {"type": "object", "unevaluatedProperties": False},
        {"type": "object", "properties": {}, "required": [], "additionalProperties": False},
    ),
    "options are joined with what stands beside them": (
        {"properties": {"x": {"const": 1}, "y": {"const": 2}}, "anyOf": [{"required": ["x"]}, {"required": ["y"]}]},
        {
            "anyOf": [
                {
                    "type": "object",
                    "properties": {"x": {"const": 1}, "y": {"const": 2}},
                    "required": [key],
                    "additionalProperties": False,
                }
                for key in ("x", "y")
            ]
        },
    ),
    "named keys become properties": (
        {"type": "object", "propertyNames": {"enum": ["x"]}, "additionalProperties": {"type": "null"}},
        {"type": "object", "properties": {"x": {"type": "null"}}, "required": [], "additionalProperties": False},
    ),
    "too few properties make optional ones required": (
        {"type": "object", "properties": {"x": {"type": "null"}, "y": {"type": "null"}}, "minProperties": 1},
        {
            "type": "object",
            "properties": {"x": {"type": "null"}, "y": {"type": "null"}},
            "required": ["x"],
            "additionalProperties": False,
        },
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_bounding(name: str) -> None:
    schema, expected = CASES[name]
    assert bounded(schema) == expected


def numbers(kind: str) -> Schemas:
    bound = st.one_of(st.integers(-(10**6), 10**6), st.floats(-1e4, 1e4).map(lambda value: round(value, 4)))
    keywords = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")
    bounds = st.dictionaries(st.sampled_from(keywords), bound, max_size=2)
    steps: Schemas = st.one_of(
        st.just({}), st.sampled_from([1, 2, 3, 7, 10, 100, 0.5, 0.01, 0.3]).map(lambda m: {"multipleOf": m})
    )
    return st.builds(lambda b, s: {"type": kind, **b, **s}, bounds, steps)


def strings() -> Schemas:
    lengths = st.tuples(st.integers(0, 12), st.integers(0, 300)).map(lambda p: {"minLength": p[0], "maxLength": sum(p)})
    patterns = st.sampled_from(
        [
            r"^[A-Z]{3}$",
            r"^\d{4}-\d{2}$",
            r"[aeiou]",
            r"^(?:cat|dog)s?$",
            r"^\W+\D\S$",
            r"^a|b$",
            r'^["\\/\n]{2}$',
            r"^[^\w]x?$",
        ]
    )
    formats = st.sampled_from(["date", "date-time", "time", "uuid", "email", "ipv4", "ipv6", "uri", "duration"])
    extra: Schemas = st.one_of(
        st.just({}), patterns.map(lambda p: {"pattern": p}), formats.map(lambda f: {"format": f})
    )
    return st.builds(lambda a, b: {"type": "string", **a, **b}, st.one_of(st.just({}), lengths), extra)


LEAVES = st.one_of(
    numbers("integer"),
    numbers("number"),
    strings(),
    st.sampled_from(
        [{"type": "boolean"}, {"type": "null"}, {}, {"const": {"a": [1, None]}}, {"enum": ["a", 1, 1.5, None]}]
    ),
)


def compounds(inner: Schemas) -> Schemas:
    keys = st.sampled_from(["a", "b", 'c "q"', "dé"])
    record = st.builds(
        lambda properties, required, more: {"type": "object", "properties": properties, "required": required, **more},
        st.dictionaries(keys, inner, max_size=4),
        st.lists(keys, unique=True, max_size=2),
        st.sampled_from([{}, {"additionalProperties": False}, {"minProperties": 1}, {"maxProperties": 2}]),
    )
    array = st.builds(
        lambda items, bounds: {"type": "array", "items": items, **bounds},
        inner,
        st.sampled_from([{}, {"minItems": 2}, {"maxItems": 1}, {"minItems": 1, "maxItems": 3}]),
    )
    row = st.lists(inner, min_size=1, max_size=3).map(
        lambda items: {"type": "array", "prefixItems": items, "minItems": 1}
    )
    table = inner.map(lambda value: {"type": "object", "additionalProperties": value, "minProperties": 1})
    union = st.lists(inner, min_size=1, max_size=3).map(lambda options: {"anyOf": options})
    both = st.tuples(inner, inner).map(lambda pair: {"allOf": list(pair)})
    exclusive = st.lists(inner, min_size=2, max_size=2).map(lambda options: {"oneOf": options})
    return st.one_of(record, array, row, table, union, both, exclusive)


@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(st.recursive(LEAVES, compounds, max_leaves=6), st.integers(0, 2**32))
def test_every_value_of_the_decoding_relative_is_valid_under_the_full_schema(schema: dict[str, Any], seed: int) -> None:
    try:
        relative = bounded(schema)
    except SchemaRefused:
        return
    rng = random.Random(seed)
    full, own = validator(schema), validator(relative)
    for _ in range(4):
        text = json.dumps(random_value(relative, rng))
        assert full(text) == [], (relative, text)
        assert own(text) == [], (relative, text)


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(st.recursive(LEAVES, compounds, max_leaves=6))
def test_bounding_twice_changes_nothing_that_matters(schema: dict[str, Any]) -> None:
    try:
        relative = bounded(schema)
    except SchemaRefused:
        return
    assert validator(bounded(relative))(json.dumps(random_value(relative, random.Random(0)))) == []
