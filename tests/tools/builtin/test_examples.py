"""The examples: short, loadable, and doing what their docstrings say, with a scripted model in the model's place."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from loopwright import Agent, load
from loopwright.testing import ScriptedEndpoint, answer, call, calls

EXAMPLES = Path(__file__).parents[3] / "examples"


def _agent(name: str) -> Agent[Any]:
    (agent,) = load(str(EXAMPLES / f"{name}.py"))
    return agent


def _run(name: str, task: str, *replies: str) -> tuple[Any, str]:
    """Return the answer and the last observation that the model read."""
    model = ScriptedEndpoint(replies)
    result = asyncio.run(_agent(name).run(task, endpoint=model))
    return result.output, model.requests[-1].messages[-1].content


@pytest.mark.parametrize("name", ["desk", "shop", "treasury"])
def test_an_example_is_short_enough_for_a_first_contact(name: str) -> None:
    assert len((EXAMPLES / f"{name}.py").read_text().splitlines()) <= 60
    assert _agent(name).instructions


def test_the_desk_multiplies_and_converts() -> None:
    product = call("calculate", expression="17 * 23")
    assert ">391</observation>" in _run("desk", "what is 17 times 23", product, answer("391"))[1]
    miles = call("convert_units", value=12, source="miles", target="km")
    assert ">19.312128 km</observation>" in _run("desk", "how many km are 12 miles", miles, answer("19.3"))[1]


def test_the_shop_knows_an_order_and_refunds_it_within_what_was_paid() -> None:
    text = _run("shop", "where is A-1042", call("order_status", order_id="A-1042"), answer("on its way"))[1]
    assert "shipped, arrives tomorrow; paid 49.90 EUR" in text
    text = _run("shop", "refund", call("refund_order", order_id="A-1042", amount=10), answer("done"))[1]
    assert "refunded 10 EUR of order A-1042" in text
    text = _run("shop", "refund", call("refund_order", order_id="A-1043", amount=500), answer("sorry"))[1]
    assert "at most 120.00 EUR" in text
    text = _run("shop", "refund", call("order_status", order_id="B-1"), answer("sorry"))[1]
    assert "there is no order" in text


def test_the_treasurer_answers_with_a_typed_quote() -> None:
    rate = calls(("exchange_rate", {"base": "EUR", "quote": "JPY"}), ("calculate", {"expression": "250 * 181.5"}))
    output, text = _run("treasury", "250 EUR in JPY", rate, answer({"amount": 45375, "currency": "JPY", "rate": 181.5}))
    assert (output.amount, output.currency, output.rate) == (45375, "JPY", 181.5)
    assert "45375" in text
