"""`@tool`: what it makes, and what it refuses."""

import asyncio
import functools
import inspect
from typing import Annotated, Any

import pytest
from pydantic import Field

from loopwright.errors import DefinitionInvalid
from loopwright.tools import Context, Reconciled, tool


def problems_of(function: Any, **options: Any) -> list[str]:
    with pytest.raises(DefinitionInvalid) as caught:
        tool(function, **options)
    return caught.value.problems


def paths_of(function: Any, **options: Any) -> list[str]:
    return [problem.split(":")[0] for problem in problems_of(function, **options)]


def documented(x: int) -> int:
    """Do something."""
    return x


def test_the_bare_decorator_takes_everything_from_the_function() -> None:
    @tool
    async def exchange_rate(base: str, quote: str = "USD") -> float:
        """Return how many units of `quote` one unit of `base` buys."""
        return 1.08 if (base, quote) == ("EUR", "USD") else 0.0

    assert exchange_rate.name == "exchange_rate"
    assert exchange_rate.description == "Return how many units of `quote` one unit of `base` buys."
    assert (exchange_rate.effect, exchange_rate.timeout_s, exchange_rate.retries) == ("once", 30.0, 0)
    assert exchange_rate.is_async


def test_a_tool_is_called_like_the_plain_function() -> None:
    @tool(effect="read", timeout_s=5)
    async def double(x: int) -> int:
        """Double."""
        return 2 * x

    assert asyncio.run(double(4)) == 8
    assert tool(documented)(3) == 3


def test_options_reach_the_tool() -> None:
    made = tool(
        documented, name="other", description="Else.", effect="keyed", retries=2, backoff_s=0.1, approval=True,
        queue="gpu", max_result_tokens=50,
    )  # fmt: skip
    assert (made.name, made.description, made.effect, made.retries) == ("other", "Else.", "keyed", 2)
    assert (made.backoff_s, made.approval, made.queue, made.max_result_tokens) == (0.1, True, "gpu", 50)


def test_bound_methods_partials_and_callable_objects_become_tools() -> None:
    class Bank:
        def balance(self, account: int) -> int:
            """Return the balance."""
            return account * 10

        async def __call__(self, account: int) -> int:
            """Look it up."""
            return account

    bank = Bank()
    assert tool(bank.balance, effect="read")(2) == 20
    assert list(tool(bank.balance).parameters["properties"]) == ["account"]
    assert tool(bank, name="bank").is_async
    assert tool(bank, name="bank").description == "Look it up."
    partial = tool(functools.partial(documented, 4), name="four", description="Four.")
    assert partial() == 4


def test_a_definition_with_six_problems_lists_six_paths() -> None:
    def wrong(untyped, *rest: int, count: int = "three", when: object = print) -> None:  # type: ignore[no-untyped-def,assignment]
        pass

    assert paths_of(wrong, name="9 lives", retries=3) == [
        "name",
        "description",
        "retries",
        "parameters.untyped",
        "parameters.rest",
        "parameters.count",
        "parameters.when",
    ]


@pytest.mark.parametrize(
    ("options", "path"),
    [
        ({"name": "no spaces"}, "name"),
        ({"name": "x" * 65}, "name"),
        ({"effect": "maybe"}, "effect"),
        ({"timeout_s": 0}, "timeout_s"),
        ({"timeout_s": float("inf")}, "timeout_s"),
        ({"retries": 1}, "retries"),
        ({"retries": -1, "effect": "read"}, "retries"),
        ({"cache_ttl_s": 5.0}, "cache_ttl_s"),
        ({"cache_ttl_s": -1.0, "effect": "read"}, "cache_ttl_s"),
        ({"max_result_tokens": 0}, "max_result_tokens"),
        ({"approval": "yes"}, "approval"),
        ({"queue": ""}, "queue"),
        ({"reconcile": "later"}, "reconcile"),
        ({"reconcile": lambda key: Reconciled("unknown"), "effect": "keyed"}, "reconcile"),
        ({"timeout": 5}, "timeout"),
    ],
)
def test_an_option_that_cannot_be_meant_is_refused(options: dict[str, Any], path: str) -> None:
    assert paths_of(documented, **options) == [path]


def test_parameters_that_have_no_schema_are_refused() -> None:
    def positional(x: int, /) -> None:
        """Do."""

    def keywords(**rest: int) -> None:
        """Do."""

    def twice(one: Context, two: Context) -> None:
        """Do."""

    def generator(x: int) -> Any:
        """Do."""
        yield x

    def in_the_default(x: int = Field(default=3, ge=1)) -> None:
        """Do."""

    def missing(x: "Nowhere") -> None:  # type: ignore[name-defined] # noqa: F821
        """Do."""

    def unordered(x: set[int]) -> None:
        """Do."""

    class Bank:
        def balance(self, account: int) -> int:
            """Return the balance."""
            return 0

    assert paths_of(positional) == ["parameters.x"]
    assert paths_of(keywords) == ["parameters.rest"]
    assert paths_of(twice) == ["parameters.two"]
    assert paths_of(generator) == ["function"]
    assert paths_of(in_the_default) == ["parameters.x"]
    assert paths_of(missing) == ["parameters"]
    assert paths_of(unordered) == ["parameters#/properties/x/uniqueItems"]
    assert "bound method" in problems_of(Bank.balance)[0]


def test_a_docstring_that_names_an_unknown_parameter_is_refused() -> None:
    def search(query: str) -> None:
        """Search.

        Args:
            query: Words.
            limit: Most hits.
        """

    assert problems_of(search) == ["docstring.limit: there is no such parameter"]


def test_a_schema_that_cannot_be_enforced_is_refused_with_the_place_inside_it() -> None:
    def take(x: Annotated[str, Field(json_schema_extra={"not": {"const": "a"}})]) -> None:
        """Take."""

    assert problems_of(take)[0].startswith("parameters#/properties/x")


def test_inspection_sees_the_parameters_of_the_function() -> None:
    assert list(inspect.signature(tool(documented)).parameters) == ["x"]
    assert repr(tool(documented)) == "Tool('documented')"


def test_the_hash_changes_with_what_the_model_sees_and_with_nothing_else() -> None:
    first = tool(documented).hash
    assert tool(documented).hash == first
    assert tool(documented, timeout_s=3).hash == first
    assert tool(documented, description="Else.").hash != first
    assert tool(documented, effect="read").hash != first
    assert tool(documented, name="other").hash != first
    assert len(first) == 64
