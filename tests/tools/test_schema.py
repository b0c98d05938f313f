"""From a signature to the JSON Schema of its arguments."""

import dataclasses
import enum
from collections.abc import Callable
from datetime import date, datetime, time
from decimal import Decimal
from typing import Annotated, Any, Literal, NotRequired, Optional
from uuid import UUID

import pytest
from pydantic import BaseModel, Field
from typing_extensions import TypedDict

from loopwright.errors import ArgumentsInvalid, DefinitionInvalid
from loopwright.inference.constraints.validate import validator
from loopwright.tools import Context, Tool, tool


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Place(BaseModel):
    """A place on the map."""

    title: str
    zip_code: Annotated[str, Field(pattern="^[0-9]{5}$")] = "10115"


class Box(TypedDict):
    width: int
    height: NotRequired[int]


@dataclasses.dataclass
class Money:
    amount: Decimal
    currency: Literal["EUR", "USD"] = "EUR"


def tool_of(kind: Any) -> Tool:
    def take(x: Any) -> None:
        """Take something."""

    take.__annotations__["x"] = kind
    return tool(take)


PLAIN = [
    (str, {"type": "string"}, ['"a"'], ["1", "null"]),
    (int, {"type": "integer"}, ["12", "-3"], ['"12"', "1.5", "1.0", "true", "1e400"]),
    (float, {"type": "number"}, ["1", "1.5"], ['"1.5"', "true", "NaN", "Infinity", "-Infinity", "1e400"]),
    (bool, {"type": "boolean"}, ["true"], ["1", '"true"']),
    (Decimal, {"type": "number"}, ["-1.25", "3"], ["true", "NaN", "1e400", '"many"']),
    (date, {"type": "string", "format": "date"}, ['"2026-11-22"'], ["20261122", '"22.11.2026"', '"2026-13-01"']),
    (datetime, {"type": "string", "format": "date-time"}, ['"2026-11-22T10:00:00Z"'], ["1790000000", '"now"']),
    (time, {"type": "string", "format": "time"}, ['"10:30:00Z"'], ["10", '"25:00:00"']),
    (UUID, {"type": "string", "format": "uuid"}, ['"12345678-1234-4123-8123-123456789012"'], ['"12"', "12"]),
    (Literal["a", "b"], {"type": "string", "enum": ["a", "b"]}, ['"a"'], ['"c"', "1"]),
    (Optional[int], {"anyOf": [{"type": "integer"}, {"type": "null"}]}, ["1", "null"], ['"1"']),  # noqa: UP045
    (int | str, {"anyOf": [{"type": "integer"}, {"type": "string"}]}, ["1", '"1"'], ["1.5", "null"]),
    (list[int], {"type": "array", "items": {"type": "integer"}}, ["[]", "[1,2]"], ['["1"]', "1", "[1,null]"]),
    (dict[str, int], {"type": "object", "additionalProperties": {"type": "integer"}}, ['{"a":1}'], ['{"a":"1"}']),
    (
        Annotated[int, Field(ge=1, le=5, description="How many.")],
        {"type": "integer", "minimum": 1, "maximum": 5, "description": "How many."},
        ["1", "5"],
        ["0", "6"],
    ),
    (
        Annotated[Decimal, Field(ge=0, max_digits=5, decimal_places=2)],
        {"type": "number", "minimum": 0, "exclusiveMinimum": -1000, "exclusiveMaximum": 1000, "multipleOf": 0.01},
        ["999.99", "0.29"],
        ["-1", "1000", "0.001"],
    ),
]


@pytest.mark.parametrize(("kind", "schema", "good", "bad"), PLAIN, ids=[str(row[0]) for row in PLAIN])
def test_a_type_has_this_schema_and_takes_exactly_these_values(
    kind: Any, schema: dict[str, Any], good: list[str], bad: list[str]
) -> None:
    made = tool_of(kind)
    assert made.parameters["properties"]["x"] == schema
    by_schema = validator(made.parameters)
    for text in good:
        made.parse(f'{{"x":{text}}}')
        assert by_schema(f'{{"x":{text}}}') == []
    for text in bad:
        with pytest.raises(ArgumentsInvalid, match="invalid arguments for 'take': "):
            made.parse(f'{{"x":{text}}}')


NAMED: list[tuple[Any, dict[str, Any], str, Any]] = [
    (Colour, {"enum": ["red", "blue"], "type": "string"}, '"red"', Colour.RED),
    (Level, {"enum": [1, 2], "type": "integer"}, "2", Level.HIGH),
    (
        Place,
        {
            "type": "object",
            "description": "A place on the map.",
            "properties": {
                "title": {"type": "string"},
                "zip_code": {"type": "string", "pattern": "^[0-9]{5}$", "default": "10115"},
            },
            "required": ["title"],
        },
        '{"title":"Office"}',
        Place(title="Office"),
    ),
    (
        Box,
        {
            "type": "object",
            "properties": {"width": {"type": "integer"}, "height": {"type": "integer"}},
            "required": ["width"],
        },
        '{"width":3}',
        {"width": 3},
    ),
    (
        Money,
        {
            "type": "object",
            "properties": {
                "amount": {"type": "number"},
                "currency": {"type": "string", "enum": ["EUR", "USD"], "default": "EUR"},
            },
            "required": ["amount"],
        },
        '{"amount":1.5}',
        Money(Decimal("1.5")),
    ),
]


@pytest.mark.parametrize(("kind", "schema", "text", "value"), NAMED, ids=[row[0].__name__ for row in NAMED])
def test_a_named_type_is_defined_once_and_read_as_itself(
    kind: Any, schema: dict[str, Any], text: str, value: Any
) -> None:
    made = tool_of(kind)
    defined = dict(made.parameters["$defs"][kind.__name__])
    if kind in (Box, Money):
        assert defined.pop("additionalProperties") is False
    assert defined == schema
    assert made.parse(f'{{"x":{text}}}') == {"x": value}


def test_properties_keep_the_order_of_the_signature_and_carry_the_docstring() -> None:
    @tool
    def search(query: str, since: date = date(2026, 1, 1), limit: Annotated[int, Field(le=50)] = 10) -> list[str]:
        """Search the archive.

        Args:
            query: Words to look for.
            limit: Most hits.
        """
        return []

    assert search.parameters == {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "query": {"type": "string", "description": "Words to look for."},
            "since": {"type": "string", "format": "date", "default": "2026-01-01"},
            "limit": {"type": "integer", "maximum": 50, "default": 10, "description": "Most hits."},
        },
        "required": ["query"],
    }
    assert list(search.parameters["properties"]) == ["query", "since", "limit"]


def test_a_description_in_the_annotation_outranks_the_docstring() -> None:
    @tool
    def look(at: Annotated[str, Field(description="From the annotation.")]) -> None:
        """Look.

        Args:
            at: From the docstring.
        """

    assert look.parameters["properties"]["at"]["description"] == "From the annotation."


def test_the_context_is_never_part_of_the_schema() -> None:
    @tool
    def plain(x: int, context: Context) -> None:
        """Do."""

    @tool
    def typed(ctx: Context[Money], x: int = 1) -> None:
        """Do."""

    assert list(plain.parameters["properties"]) == list(typed.parameters["properties"]) == ["x"]
    assert (plain.context_parameter, typed.context_parameter) == ("context", "ctx")


def test_a_tool_without_arguments_takes_an_empty_object_only() -> None:
    @tool
    def ping() -> str:
        """Ping."""
        return "pong"

    assert ping.parameters == {"type": "object", "properties": {}, "additionalProperties": False}
    assert ping.parse("{}") == {}
    with pytest.raises(ArgumentsInvalid, match="x: is not a known key"):
        ping.parse('{"x":1}')


def test_keys_that_are_whole_numbers_are_said_to_be() -> None:
    made = tool_of(dict[int, str])
    assert made.parameters["properties"]["x"]["propertyNames"] == {"pattern": "^-?[0-9]+$"}
    assert made.parse('{"x":{"1":"a"}}') == {"x": {1: "a"}}


def test_made_up_titles_are_left_out_and_a_property_of_that_name_stays() -> None:
    assert "title" in tool_of(Place).parameters["$defs"]["Place"]["properties"]
    assert '"title":"' not in tool_of(Place).shape.schema


def test_a_callable_has_no_schema() -> None:
    with pytest.raises(DefinitionInvalid, match=r"parameters\.x: "):
        tool_of(Callable[[int], int])
