"""Full JSON Schema validation and random values."""

import random

import pytest

from loopwright.inference.constraints.bounds import bounded
from loopwright.inference.constraints.sampling import random_value
from loopwright.inference.constraints.validate import MAX_PROBLEMS, validator


@pytest.mark.parametrize(
    ("schema", "value", "problem"),
    [
        ({"type": "integer", "maximum": 3}, 5, "$: 5 is greater than the maximum of 3"),
        ({"properties": {"a": {"items": {"type": "null"}}}}, {"a": [None, 1]}, "$.a[1]: 1 is not of type 'null'"),
        ({"required": ["a"]}, {}, "$: 'a' is a required property"),
        ({"type": "string", "format": "date"}, '"2023-02-29"', "$: '2023-02-29' is not a 'date'"),
        ({"type": "string", "format": "date-time"}, '"2023-02-28T10:00:00"', "is not a 'date-time'"),
        ({"multipleOf": 0.01}, 0.295, "$: 0.295 is not a multiple of 0.01"),
        ({"type": "object"}, '{"a":', "$: not JSON"),
        ({"uniqueItems": True}, [1, 1], "$: [1, 1] has non-unique elements"),
        ({"not": {"type": "string"}}, '"a"', "should not be valid"),
    ],
)
def test_a_problem_names_its_place(schema: dict[str, object], value: object, problem: str) -> None:
    (found,) = validator(schema)(value)
    assert problem in found


@pytest.mark.parametrize("value", [0.29, 0.07, 1.1, 100, -0.57, 4.35])
def test_multiples_are_decided_on_decimals(value: float) -> None:
    assert validator({"multipleOf": 0.01})(value) == []


def test_problems_are_few_and_short() -> None:
    found = validator({"items": {"type": "null"}})(["x" * 5000] * 50)
    assert len(found) == MAX_PROBLEMS
    assert all(len(problem) < 300 for problem in found)


def test_remote_references_are_never_fetched() -> None:
    with pytest.raises(Exception, match=r"Unresolvable|example\.invalid"):
        validator({"$ref": "https://example.invalid/schema.json"})({})


def test_random_values_favour_edges_and_follow_the_seed() -> None:
    schema = bounded({"type": "integer", "minimum": -5, "maximum": 10_000})
    values = [random_value(schema, random.Random(seed)) for seed in range(300)]
    assert values == [random_value(schema, random.Random(seed)) for seed in range(300)]
    assert {-5, 10_000, 0} <= set(values)
    assert len(set(values)) > 100
