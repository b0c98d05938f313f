"""The last gate before a tool."""

from datetime import date
from typing import Any

import pytest
from loopwright.errors import ArgumentsInvalid
from loopwright.tools import tool
from pydantic import BaseModel


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
