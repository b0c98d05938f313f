"""Agents that the API's tests submit tasks to."""

from loopwright import Agent, Limits, tool


@tool(effect="read")
async def look(what: str) -> str:
    """Return what is known.

    Args:
        what: About what.
    """
    return f"{what} is blue"


@tool(effect="once", approval=True)
async def send(text: str) -> str:
    """Send a text to everybody.

    Args:
        text: The text.
    """
    return "sent"


@tool(effect="read", max_result_tokens=20)
async def read_book(title: str) -> str:
    """Return a book.

    Args:
        title: Its title.
    """
    return f"{title}: " + "a long story. " * 200


clerk = Agent(
    name="clerk", instructions="Help.", tools=[look, send, read_book], limits=Limits(max_steps=8, deadline_s=60)
)
changed_clerk = Agent(
    name="clerk", instructions="Help, and be kind.", tools=[look, send], limits=Limits(max_steps=8, deadline_s=60)
)
