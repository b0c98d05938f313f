"""A treasurer whose answer is a typed value, checked by pydantic before anybody sees it.

loopwright run examples/treasury.py "how much is 250 EUR in JPY"
"""

from pydantic import BaseModel, Field

from loopwright import Agent, Limits, ToolError, tool
from loopwright.tools.builtin import calculate

PER_EURO = {"EUR": 1.0, "USD": 1.16, "GBP": 0.88, "JPY": 181.5, "CHF": 0.93}
"""Invented rates, so that the example needs no network."""


class Quote(BaseModel):
    """An amount in another currency, and the rate behind it."""

    amount: float = Field(ge=0)
    currency: str = Field(pattern="^[A-Z]{3}$")
    rate: float = Field(gt=0)


@tool(effect="read", timeout_s=5)
async def exchange_rate(base: str, quote: str) -> float:
    """Return how many units of `quote` one unit of `base` buys.

    Args:
        base: ISO 4217 code, e.g. EUR.
        quote: ISO 4217 code, e.g. USD.
    """
    for code in (base, quote):
        if code not in PER_EURO:
            raise ToolError(f"no rate for {code!r}; known are {', '.join(PER_EURO)}")
    return round(PER_EURO[quote] / PER_EURO[base], 6)


treasurer = Agent(
    name="treasurer",
    instructions="Answer money questions with current rates. State the rate you used.",
    tools=[exchange_rate, calculate],
    output_type=Quote,
    limits=Limits(max_steps=12, max_tokens=20_000, deadline_s=120),
)
