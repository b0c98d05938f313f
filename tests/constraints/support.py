"""A toolbox of typed tools and a small vocabulary, shared by the tests of the constraints."""

import json
import random
from collections.abc import Iterable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from functools import lru_cache
from typing import Annotated, Any, Literal
from uuid import UUID

from annotated_types import Ge, Gt, Interval, Le, MultipleOf
from pydantic import BaseModel, ConfigDict, Field, IPvAnyAddress, create_model

from loopwright.inference.constraints.decision import DecisionConstraint, ToolShape
from loopwright.inference.constraints.vocabulary import Vocabulary

Short = Annotated[str, Field(max_length=24)]


class Color(Enum):
    RED = "red"
    GREEN = "green"
    NONE = "none"


class Point(BaseModel):
    model_config = ConfigDict(extra="forbid")
    x: Annotated[float, Interval(ge=-180, le=180)]
    y: Annotated[float, Interval(gt=-90, lt=90)]
    label: Short | None = None


class Circle(BaseModel):
    kind: Literal["circle"]
    radius: Annotated[float, Gt(0)]


class Square(BaseModel):
    kind: Literal["square"]
    side: Annotated[int, Interval(ge=1, le=12)]


class Node(BaseModel):
    value: int
    children: "list[Node]" = []
    twin: "Node | None" = None


_PARAMETERS: list[dict[str, Any]] = [
    {"amount": (float, ...), "rate": (Annotated[float, Interval(ge=-1.5, le=0.25)], ...)},
    {"city": (Short, ...), "days": (Annotated[int, Interval(ge=1, le=14)], 3), "unit": (Literal["c", "f"], "c")},
    {"when": (datetime, ...), "on": (date | None, None), "at": (time, None)},
    {"where": (Point, ...), "others": (Annotated[list[Point], Field(max_length=2)], [])},
    {"a": (int, 0), "b": (int, 0), "c": (int, 0), "d": (int, 0)},
    {"ids": (Annotated[list[UUID], Field(min_length=1, max_length=3)], ...)},
    {"scores": (dict[Short, int], ...), "flags": (dict[Literal["x", "y"], bool], {})},
    {"color": (Color, ...), "level": (Literal[1, 10, 100], 1), "on": (bool, True)},
    {"pair": (tuple[int, Short], ...), "open": (tuple[int, ...], ())},
    {"figure": (Annotated[Circle | Square, Field(discriminator="kind")], ...)},
    {"tree": (Node, ...)},
    {"iban": (Annotated[str, Field(pattern=r"^[A-Z]{2}\d{2}(?: ?[0-9]{4}){3}$")], ...)},
    {"code": (Annotated[str, Field(pattern=r"[A-Z]", max_length=12)], ...), "n": (int | Short | None, None)},
    {"step": (Annotated[int, MultipleOf(7)], ...), "ten": (Annotated[int, MultipleOf(10), Ge(-200)], ...)},
    {"price": (Annotated[float, MultipleOf(0.01), Interval(ge=0, le=99.99)], ...)},
    {
        "hours": (Annotated[float, MultipleOf(0.25), Interval(ge=0, le=24)], ...),
        "past": (Annotated[float, Le(-3.5)], 0),
    },
    {},
    {"host": (IPvAnyAddress, ...), "wait": (timedelta, ...)},
    {"grid": (list[list[Annotated[int, Interval(ge=-9, le=9)]]], ...)},
    {"amount": (Decimal, ...), "note": (Short | None, ...), "quote": (Literal['say "a\\b"', "tab\t"], ...)},
]
MODELS: dict[str, type[BaseModel]] = {
    f"tool_{number}": create_model(f"Tool{number}", **parameters) for number, parameters in enumerate(_PARAMETERS)
}


def schema_of(model: type[BaseModel]) -> dict[str, Any]:
    """The full schema of a model; decimals as numbers, since pydantic's string form says less than it checks."""
    schema = model.model_json_schema()
    for field, value in schema.get("properties", {}).items():
        if model.model_fields[field].annotation is Decimal:
            value.clear()
            value["type"] = "number"
    return schema


@lru_cache(maxsize=32)
def constraint_over(count: int, *, first: int = 0, calls: int = 2, thought: int = 16) -> DecisionConstraint:
    """A constraint over some tools of the toolbox and a short answer."""
    names = [f"tool_{number % len(MODELS)}" for number in range(first, first + count)]
    tools = tuple(ToolShape(name, json.dumps(schema_of(MODELS[name]))) for name in names)
    answer = json.dumps({"anyOf": [{"type": "string", "maxLength": 20}, {"type": "number", "exclusiveMinimum": -2}]})
    return DecisionConstraint(tools, answer, max_calls=calls, thought_chars=thought)


def problems_of(text: str, constraint: DecisionConstraint) -> list[str]:
    """What is wrong with a decision under the full schemas: pydantic's strict reading and JSON Schema's."""
    from loopwright.inference.constraints.validate import validator

    decision = json.loads(text)
    assert list(decision) in (["thought", "calls"], ["thought", "answer"])
    assert json.dumps(decision, ensure_ascii=False, separators=(",", ":")) or text
    found = []
    shapes = {tool.name: json.loads(tool.schema) for tool in constraint.tools}
    for call in decision.get("calls", ()):
        arguments = json.dumps(call["arguments"])
        MODELS[call["tool"]].model_validate_json(arguments, strict=True)
        found += validator(shapes[call["tool"]])(call["arguments"])
    if "answer" in decision:
        found += validator(json.loads(constraint.answer or "{}"))(json.dumps(decision["answer"]))
    return found


@lru_cache(maxsize=4)
def vocabulary(size: int = 1024) -> Vocabulary:
    """All bytes, JSON's punctuation in clumps, and made-up syllables; the last id ends a text."""
    rng = random.Random(size)
    tokens = dict.fromkeys(bytes([code]) for code in range(256))
    clumps = [
        '{"',
        '":"',
        '","',
        '":',
        '"}',
        '},{"',
        '"]',
        "true",
        "null",
        "00",
        "12",
        "-1",
        ".5",
        '\\"',
        "é",
        "日本",
        "}]}",
    ]
    tokens.update(dict.fromkeys(clump.encode() for clump in clumps))
    while len(tokens) < size - 1:
        word = "".join(rng.choice("etaoinshrdlu") for _ in range(rng.randint(2, 5)))
        tokens[(" " * rng.randint(0, 1) + word).encode()] = None
    return Vocabulary((*tokens, b"<end>"), size - 1)


def pick(allowed: Iterable[int], rng: random.Random) -> int:
    return rng.choice(list(allowed))
