"""Agents and tools that the planner's tests share."""

import asyncio
from decimal import Decimal
from typing import Annotated, Any

from pydantic import BaseModel, Field

from loopwright import Agent, Limits, tool


class Sent:
    """Records what tools with effects did."""

    def __init__(self) -> None:
        self.emails: list[str] = []
        self.payments: dict[str, Decimal] = {}


SENT = Sent()


@tool(effect="read")
async def lookup(key: str) -> str:
    """Return what is stored under a key."""
    return f"value of {key}"


@tool(effect="read", max_result_tokens=50)
async def long_text(lines: Annotated[int, Field(ge=0, le=2000)]) -> str:
    """Return many lines."""
    return "\n".join(f"line {number} of the text" for number in range(lines))


@tool
async def send_email(to: str) -> str:
    """Send an e-mail."""
    SENT.emails.append(to)
    return f"sent to {to}"


@tool(effect="read")
async def broken() -> str:
    """Fail always."""
    raise RuntimeError("secret detail")


@tool(effect="read", timeout_s=0.05)
async def hanging() -> str:
    """Never come back."""
    await asyncio.sleep(3600)
    return "unreachable"


class Quote(BaseModel):
    """A typed answer."""

    rate: float
    currency: str


def make_agent(*tools: Any, **options: Any) -> Agent[Any]:
    """Return an agent with these tools."""
    given: dict[str, Any] = {"name": "tester", "instructions": "Answer the question.", "limits": Limits(), **options}
    return Agent(tools=list(tools), **given)
