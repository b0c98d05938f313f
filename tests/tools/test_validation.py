"""The last gate before a tool."""

import json
from datetime import date
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from loopwright.errors import ArgumentsInvalid
from loopwright.inference.constraints.validate import validator
from loopwright.tools import tool


class Leg(BaseModel):
    city: str
    nights: int = 1
    price: float = 0.0


@tool(effect="read")
def book(traveller: str, legs: list[Leg], start: date | None = None, extra: Any = None) -> None:
    """Book a journey."""


def problem(text: str) -> str:
    with pytest.raises(ArgumentsInvalid) as caught:
        book.parse(text)
    assert caught.value.tool == "book"
    return caught.value.problems


GOOD = '{"traveller":"Ada","legs":[{"city":"Oslo","nights":2}],"start":"2026-12-01"}'


def test_arguments_come_as_values_of_the_annotated_types() -> None:
    assert book.parse(GOOD) == {
        "traveller": "Ada",
        "legs": [Leg(city="Oslo", nights=2)],
        "start": date(2026, 12, 1),
    }


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"traveller":1,"legs":[]}', "traveller: should be a valid string, got 1"),
        ('{"legs":[]}', "traveller: is missing"),
        ('{"traveller":"A","legs":[],"seat":"9A"}', "seat: is not a known key"),
        (
            '{"traveller":"A","legs":[{"city":"Oslo"},{"nights":"2"}]}',
            'legs[1].city: is missing; legs[1].nights: should be a valid integer, got "2"',
        ),
        ('["traveller"]', 'should be an object, got ["traveller"]'),
        ("", "not JSON: EOF while parsing a value at line 1 column 0"),
        ('{"traveller":"A","legs":[', "not JSON: EOF while parsing a list at line 1 column 25"),
        ('{"traveller":"A","legs":[],"extra":NaN}', "not JSON: expected value at line 1 column 36"),
        ('{"traveller":"A","legs":[],"extra":[1e999]}', "a number is out of range"),
        ('{"traveller":"A","legs":[{"city":"B","price":1e309}]}', "a number is out of range"),
        ('{"traveller":"A","legs":[],"extra":' + "9" * 400 + ".0}", "a number is out of range"),
    ],
)
def test_each_problem_names_the_place_what_is_expected_and_what_came(text: str, expected: str) -> None:
    assert problem(text) == expected


@pytest.mark.parametrize("said", ["NaN", "Infinity", "see 1e999", "9" * 400])
def test_words_that_look_like_bad_numbers_may_stand_inside_strings(said: str) -> None:
    assert book.parse(f'{{"traveller":"{said}","legs":[]}}')["traveller"] == said


def test_a_megabyte_of_arguments_is_refused_before_it_is_read() -> None:
    text = f'{{"traveller":"{"x" * 1_000_000}","legs":[]}}'
    assert problem(text) == "1,000,026 bytes of JSON; at most 262,144 are accepted"


def test_the_size_is_counted_in_bytes_not_in_characters() -> None:
    assert "bytes of JSON" in problem(f'{{"traveller":"{"ü" * 140_000}","legs":[]}}')
    assert book.parse(f'{{"traveller":"{"u" * 140_000}","legs":[]}}')


@pytest.mark.parametrize("text", ["[" * 5_000, '{"a":' * 5_000, '{"traveller":"\\ud800","legs":[]}', "9" * 5_000])
def test_hostile_json_is_a_problem_not_a_crash(text: str) -> None:
    assert problem(text)


def test_a_long_list_of_problems_is_cut() -> None:
    legs = ",".join('{"city":1}' for _ in range(1000))
    said = problem(f'{{"traveller":"A","legs":[{legs}]}}')
    assert said.count("should be") == 5
    assert said.endswith("; and 995 more")


def test_a_long_value_is_repeated_in_part_only() -> None:
    said = problem(f'{{"traveller":["{"x" * 1000}"],"legs":[]}}')
    assert len(said) < 150


# --- whatever passes satisfies the schema ----------------------------------------------------------------------


class Stay(BaseModel):
    city: Annotated[str, Field(min_length=1, max_length=5)]
    nights: Annotated[int, Field(ge=1, le=30)] = 1
    tags: dict[str, bool] = {}


@tool(effect="read")
def plan(
    stays: Annotated[list[Stay], Field(max_length=3)],
    budget: Annotated[float, Field(gt=0)],
    start: date,
    mode: Literal["train", "ship", 3] = "train",
    note: str | None = None,
) -> None:
    """Plan a journey."""


VALID = {
    "stays": [{"city": "Oslo", "nights": 2, "tags": {"warm": False}}, {"city": "Rome"}],
    "budget": 99.5,
    "start": "2026-12-01",
    "mode": "ship",
    "note": None,
}
LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=6),
    st.sampled_from(["train", "ship", "2026-02-30", "2026-02-28", "1", 3, 30, "Rome"]),
)
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
)
PATHS = [
    (), ("stays",), ("stays", 0), ("stays", 0, "city"), ("stays", 1, "nights"), ("stays", 0, "tags"), ("budget",),
    ("start",), ("mode",), ("note",), ("other",),
]  # fmt: skip


@settings(max_examples=400, deadline=None)
@given(path=st.sampled_from(PATHS), value=VALUES)
def test_arguments_that_pass_satisfy_the_full_schema(path: tuple[str | int, ...], value: Any) -> None:
    """Promise: what reaches a tool is valid, whatever the engine returned."""
    arguments: Any = json.loads(json.dumps(VALID))
    at = arguments
    for step in path[:-1]:
        at = at[step]
    if path:
        at[path[-1]] = value
    else:
        arguments = value
    text = json.dumps(arguments)
    try:
        plan.parse(text)
    except ArgumentsInvalid:
        return
    assert validator(plan.parameters)(text) == []
