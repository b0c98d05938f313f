"""Numbers, patterns and formats as regular expressions."""

import json
import re
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from ipaddress import IPv4Address, IPv6Address
from random import Random
from typing import Annotated, Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import (
    UUID1,
    UUID3,
    UUID4,
    UUID5,
    UUID6,
    UUID7,
    UUID8,
    Base64Bytes,
    Field,
    HttpUrl,
    IPvAnyAddress,
    TypeAdapter,
)

from loopwright.inference.constraints.formats import FORMATS, MOST_CHARS, format_lengths
from loopwright.inference.constraints.patterns import (
    PatternUnsupported,
    json_regex,
    lengths,
    parse_pattern,
    value_regex,
)
from loopwright.inference.constraints.ranges import decimal_regex, integer_regex
from loopwright.inference.constraints.sampling import random_text
from loopwright.inference.constraints.shapes import Text, json_text
from loopwright.inference.constraints.tameness import is_tame
from loopwright.inference.constraints.validate import validator

INTEGERS = st.integers(-(10**7), 10**7)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(INTEGERS, INTEGERS, st.lists(INTEGERS, max_size=20))
def test_an_integer_range_is_exact(one: int, other: int, probes: list[int]) -> None:
    low, high = sorted((one, other))
    matches = re.compile(integer_regex(low, high)).fullmatch
    for value in (low - 1, low, low + 1, high - 1, high, high + 1, 0, *probes):
        assert (matches(str(value)) is not None) == (low <= value <= high)
    assert not matches("-0")
    assert not matches("007")


@settings(max_examples=300, deadline=None, derandomize=True)
@given(INTEGERS, INTEGERS, st.integers(0, 6), st.lists(INTEGERS, max_size=20))
def test_a_decimal_range_is_exact_on_its_grid(one: int, other: int, places: int, probes: list[int]) -> None:
    low, high = sorted(Decimal(value).scaleb(-places) for value in (one, other))
    matches = re.compile(decimal_regex(low, high, places)).fullmatch
    unit = Decimal(1).scaleb(-places)
    for value in (low - unit, low, low + unit, high - unit, high, high + unit, *(probe * unit for probe in probes)):
        for text in {f"{value:f}", f"{value.normalize():f}"}:
            if value or not text.startswith("-"):
                assert (matches(text) is not None) == (low <= value <= high), (text, low, high)


def test_decimals_never_have_more_digits_than_a_double_holds() -> None:
    matches = re.compile(decimal_regex(Decimal(-(10**15) + 1), Decimal(10**15 - 1), 6)).fullmatch
    assert matches("-123456789.123456")
    assert matches("999999999999999")
    assert not matches("1234567890.5")
    assert not matches("1.1234567")
    assert not matches("1e5")


PATTERNS = [
    r"^[A-Z]{3}$", r"\d+\.\d*", r"^a|b$", r"(^cat$|^dog$)", r"^(?P<year>\d{4})(?:-\d\d)?$", r"[^\W_]", r"^\S+@\S+$",
    r"^.$", r"^(a|b$)", r"(^a|b)c$", r"x(y|z$)", r"^$", "",
    r"^[^a]\W\D\s$", r'^["\\]+\n?$', r"^(?:ab|c*){2,3}$", r"^x*?y+?$", r"^é[à-ü]$", r"^\.\/\-$",
]  # fmt: skip


@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_normalised_pattern_accepts_only_what_the_original_accepts(pattern: str) -> None:
    node = parse_pattern(pattern)
    rng, inside = Random(1), re.compile(json_regex(node))
    again = f"^{value_regex(node)}$"
    assert value_regex(parse_pattern(again)) == value_regex(node)
    for _ in range(100):
        text = random_text(Text(0, 30, pattern=again), rng)
        value = validator({"type": "string", "pattern": pattern})
        assert value(text) == []
        assert inside.fullmatch(text[1:-1])


@pytest.mark.parametrize(
    "pattern",
    ["(?<=a)b", "(?!a)", r"(a)\1", r"\bword", "a^b", "a$b", "(?i)a", "a{2000}", "[", "\x00", "[[a]b]", "(?>a)", "a++"],
)
def test_a_pattern_that_engines_read_differently_is_refused(pattern: str) -> None:
    with pytest.raises(PatternUnsupported):
        parse_pattern(pattern)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.sampled_from(PATTERNS), st.integers(0, 12), st.randoms(use_true_random=False))
def test_possible_lengths_hold_for_random_matches(pattern: str, most: int, rng: Any) -> None:
    node = parse_pattern(pattern)
    possible = lengths(node, most)
    if not possible:
        return
    text = random_text(Text(0, most, pattern=f"^{value_regex(node)}$"), rng)
    assert possible >> len(json.loads(text)) & 1


READERS: dict[str, Any] = {
    "date": date, "time": time, "date-time": datetime, "duration": timedelta, "uuid": UUID, "ipv4": IPv4Address,
    "ipv6": IPv6Address, "ipvanyaddress": IPvAnyAddress, "base64": Base64Bytes, "uuid1": UUID1, "uuid3": UUID3,
    "uuid4": UUID4, "uuid5": UUID5, "uuid6": UUID6, "uuid7": UUID7, "uuid8": UUID8, "uri": HttpUrl,
    "email": Annotated[str, Field(pattern=r"^[^@ ]+@[^@ ]+\.[a-z]+$")],
    "hostname": Annotated[str, Field(pattern=r"^([A-Za-z0-9-]{1,63}\.)+[a-z]+$")],
}  # fmt: skip


@pytest.mark.parametrize("name", READERS)
def test_random_texts_of_a_format_are_read_by_pydantic(name: str) -> None:
    rng, reader = Random(2), TypeAdapter(READERS[name])
    check = validator({"type": "string", "format": name})
    most = format_lengths(name).bit_length() - 1
    assert most < MOST_CHARS
    for _ in range(200):
        text = random_text(Text(0, most, format=name), rng)
        reader.validate_json(text, strict=True)
        assert check(text) == []


def test_dates_are_days_of_the_calendar() -> None:
    matches = re.compile(FORMATS["date"]).fullmatch
    for ordinal in range(date(1895, 1, 1).toordinal(), date(2105, 1, 1).toordinal(), 7):
        assert matches(date.fromordinal(ordinal).isoformat())
    assert all(matches(f"{year}-02-29") for year in (1600, 2000, 2024, 2400))
    assert not any(matches(text) for text in ("1900-02-29", "2023-02-29", "2023-04-31", "2023-13-01", "2023-00-10"))


def test_json_text_escapes_only_what_the_grammar_allows() -> None:
    assert json_text('a"\\\n\t\ré😀') == '"a\\"\\\\\\n\\t\\ré😀"'


@pytest.mark.parametrize(
    ("pattern", "tame"),
    [
        (r"^[A-Z]{2}\d{2}(?: ?[0-9]{4}){3}$", True), (r"^[\w.+-]+@[\w-]+\.[\w.-]+$", True),
        (r"^\d+(?:\.\d{1,2})?$", True),
        (r"^(?:cat|dog)s?$", True), (r"^#[0-9a-f]{6}$", True), (r"^[^a]*a$", True), (r"^(?:ab?)+c$", True),
        (r"[A-Z]", False), (r"^.*a.{12}$", False), (r"^[ab]{0,20}a[ab]{20}$", False), (r"^(?:[ab]c|ad)$", False),
        (r"^(?:a?){3}a$", False), (r"^(?:a+)+$", False), (r"^(?:|a)a$", False), (r"^(?:[a-z]{0,900}){0,900}$", False),
    ],
)  # fmt: skip
def test_only_patterns_that_one_character_decides_are_tame(pattern: str, tame: bool) -> None:
    node = parse_pattern(pattern)
    assert is_tame(Text(0, 1000, pattern=f"^{value_regex(node)}$")) == tame


@pytest.mark.parametrize(
    "text",
    [
        Text(0, 6, format="email"),
        Text(190, 200, pattern="^[a-z]+$"),
        Text(7, 7, pattern=r"^(?:ab|c*){2,3}$"),
        Text(9, 9, pattern="a.{3}"),
    ],
)
def test_random_texts_meet_narrow_lengths(text: Text) -> None:
    found = {json.loads(random_text(text, Random(seed))) for seed in range(30)}
    assert all(text.least <= len(each) <= text.most for each in found)
    assert len(found) > 1
