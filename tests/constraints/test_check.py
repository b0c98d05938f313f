"""The gate at registration: hostile and unenforceable schemas, each with a clear verdict in bounded time."""

import json
import resource
import subprocess
import sys
import time
from contextlib import suppress
from typing import Any

import pytest

from loopwright.errors import SchemaRefused
from loopwright.inference.constraints import jail
from loopwright.inference.constraints.check import check_schema

from .support import MODELS, schema_of


def with_property(schema: Any) -> dict[str, Any]:
    return {"type": "object", "properties": {"a": schema}, "required": ["a"]}


def with_pattern(pattern: str, **more: Any) -> dict[str, Any]:
    return with_property({"type": "string", "pattern": pattern, **more})


def nested(depth: int) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(depth):
        schema = {"type": "array", "items": schema}
    return schema


def doubling(keyword: str) -> dict[str, Any]:
    """25 definitions, each holding the next one twice: 33 million parts when written out."""
    definitions: dict[str, Any] = {"d25": {"type": "string"}}
    for number in range(25):
        both = [{"$ref": f"#/$defs/d{number + 1}"}] * 2
        properties = {"type": "object", "properties": dict(zip("ab", both, strict=True)), "required": ["a", "b"]}
        definitions[f"d{number}"] = {"allOf": both} if keyword == "allOf" else properties
    return {"$defs": definitions, "$ref": "#/$defs/d0"}


REFUSED: dict[str, tuple[Any, str, str]] = {
    "nesting 200": (nested(200), "#/items/items", "nested deeper"),
    "nesting 100,000": (nested(100_000), "#/items/items", "nested deeper"),
    "remote reference": (with_property({"$ref": "https://example.com/a.json"}), "#/properties/a/$ref", "outside"),
    "reference to an anchor": (with_property({"$ref": "#there"}), "#/properties/a/$ref", "anchor"),
    "contains: false": (with_property({"contains": False}), "#/properties/a/contains", "use items"),
    "dangling reference": (with_property({"$ref": "#/$defs/b"}), "#/properties/a/$ref", "leads nowhere"),
    "reference to itself": ({"$ref": "#"}, "#/$ref", "never end"),
    "cycle of references": (
        {"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"},
        "#/$defs/b/$ref",
        "never end",
    ),
    "endless value": ({"$defs": {"a": with_property({"$ref": "#/$defs/a"})}, "$ref": "#/$defs/a"}, "#/$defs/a", "end"),
    "doubling objects": (doubling("properties"), "#/$defs/d", "grows beyond"),
    "doubling allOf": (doubling("allOf"), "#/$defs/d", "never end"),
    "30,000 parentheses": (with_pattern("(" * 30_000 + "a" + ")" * 30_000), "#/properties/a/pattern", "longer"),
    "40 parentheses": (with_pattern("(" * 40 + "a" + ")" * 40), "#/properties/a/pattern", "nested deeper"),
    "10,000 enum values": (with_property({"enum": list(range(10_000))}), "#/properties/a/enum", "10,000 entries"),
    "201 properties": ({"properties": {f"p{n}": {} for n in range(201)}}, "#/properties", "201 entries"),
    "64 KiB": (with_property({"type": "string", "description": "x" * 70_000}), "#", "bytes of schema"),
    "look-around": (with_pattern("(?=a)b"), "#/properties/a/pattern", "look-around"),
    "back-reference": (with_pattern(r"(a)\1"), "#/properties/a/pattern", "back-references"),
    "flags": (with_pattern("(?i)abc"), "#/properties/a/pattern", "flags"),
    "no regular expression": (with_pattern("[a"), "#/properties/a/pattern", "not a regular expression"),
    "automaton too large": (with_pattern("^.*a.{30}$"), "#/properties/a/pattern", "cannot run it"),
    "repeats of repeats": (
        with_pattern("^(((([a-z]{0,900}){0,900}){0,900}){0,900})$"),
        "#/properties/a/pattern",
        "run it",
    ),
    "pattern that no string matches": (with_pattern("^abc$", maxLength=2), "#/properties/a/pattern", "matches no"),
    "not": (with_property({"not": {"type": "string"}}), "#/properties/a/not", "enum or anyOf"),
    "if": (with_property({"if": {}, "then": {}}), "#/properties/a/if", "one option per case"),
    "dependentRequired": ({"type": "object", "dependentRequired": {"a": ["b"]}}, "#/dependentRequired", "anyOf"),
    "unevaluatedProperties": ({"unevaluatedProperties": {"type": "null"}}, "#/unevaluated", "additionalProperties"),
    "contains": (with_property({"type": "array", "contains": {}}), "#/properties/a/contains", "use items"),
    "uniqueItems": (with_property({"type": "array", "uniqueItems": True}), "#/properties/a/uniqueItems", "use a list"),
    "patternProperties": ({"properties": {"a": {}}, "patternProperties": {"^x": {}}}, "#/patternProperties", "list"),
    "overlapping oneOf": ({"oneOf": [{"type": "integer"}, {"type": "number"}]}, "#/oneOf/1", "overlaps"),
    "unknown format": (with_property({"type": "string", "format": "iban"}), "#/properties/a/format", "known: "),
    "crossed bounds": (with_property({"type": "integer", "minimum": 5, "maximum": 3}), "#/properties/a", "5 and 3"),
    "empty enum": (with_property({"enum": []}), "#/properties/a/enum", "no value"),
    "enum of another type": (with_property({"type": "string", "enum": [1, 2]}), "#/properties/a/enum", "no value"),
    "false": (with_property(False), "#/properties/a", "no value"),
    "unknown type": (with_property({"type": "strin"}), "#/properties/a/type", "not a JSON type"),
    "two entries at least": (
        with_property({"type": "object", "additionalProperties": {}, "minProperties": 2}),
        "#/properties/a/minProperties",
        "may repeat",
    ),
    "no schema": (with_property(5), "#/properties/a", "not int"),
    "type is a number": (with_property({"type": 5}), "#", "not a JSON Schema"),
    "bounds are text": (with_property({"type": "integer", "minimum": "1"}), "#/properties/a/minimum", "is a number"),
    "NaN": (with_property({"type": "number", "minimum": float("nan")}), "#", "not JSON"),
}
REFUSED["a million characters"] = (
    {"type": "array", "maxItems": 100, "items": {"type": "array", "maxItems": 100, "items": {"type": "string"}}},
    "#",
    "bound its arrays",
)

ACCEPTED = {
    "maxLength 1e6": with_property({"type": "string", "maxLength": 10**6}),
    ".*a.{12}": with_pattern(".*a.{12}"),
    "nested repeats": with_pattern("^(a+)+$"),
    "1,000 enum values": with_property({"enum": [f"value {n}" for n in range(1000)]}),
    "200 optional properties": {"type": "object", "properties": {f"p{n}": {"type": "string"} for n in range(200)}},
    "nesting 10": nested(6),
    "recursion with an end": {"$defs": {"a": {"properties": {"next": {"$ref": "#/$defs/a"}}}}, "$ref": "#/$defs/a"},
    "an unenforceable pattern beside a number": {"anyOf": [{"type": "number"}, {"type": "string", "pattern": "(?!a)"}]},
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_schema_that_cannot_be_enforced_is_refused_with_its_place(name: str) -> None:
    schema, path, problem = REFUSED[name]
    started = time.process_time()
    with pytest.raises(SchemaRefused) as caught:
        check_schema(schema, "tool 'bad'")
    assert caught.value.what == "tool 'bad'"
    assert caught.value.path.startswith(path)
    assert problem in caught.value.problem
    assert len(str(caught.value)) < 800
    assert time.process_time() - started < 1


@pytest.mark.parametrize("name", ACCEPTED)
def test_a_schema_that_can_be_bounded_is_accepted(name: str) -> None:
    check_schema(ACCEPTED[name], name)


def test_the_verdict_on_any_hostile_schema_comes_within_its_limits() -> None:
    """Processor time of this process and its children together; the wall clock of a busy machine says nothing."""
    spent = []
    for schema in (*ACCEPTED.values(), *(schema for schema, _, _ in REFUSED.values())):
        started = sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        with suppress(SchemaRefused):
            check_schema(schema, "x")
        spent.append(-started)
        spent[-1] += sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    assert max(spent) < 2
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss < 1 << 20


def test_schemas_of_ordinary_models_start_no_child(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jail, "run", lambda *_: pytest.fail("a child was started"))
    for name, model in MODELS.items():
        if name != "tool_12":
            check_schema(schema_of(model), name)


def test_the_child_is_killed_when_it_runs_too_long() -> None:
    tokens = tuple(bytes([code]) for code in range(256))
    with pytest.raises(jail.JailError, match="takes more than"):
        jail.run("build_index", "[ab]{0,200}a[ab]{60}", tokens, 256)


def test_the_core_imports_none_of_the_heavy_libraries() -> None:
    modules = ("bounds", "check", "compiler", "lark", "outlines_types", "request", "sampling", "validate", "walk")
    code = "import sys\n" + "".join(f"import loopwright.inference.constraints.{name}\n" for name in modules)
    code += "print(sorted({'openai', 'dspy', 'outlines', 'mcp', 'numpy', 'jsonschema'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout.replace("'", '"')) == []
