"""The agent of the service's benchmarks: one cheap tool."""

from loopwright import Agent, Limits, tool


@tool(effect="read")
async def add(step: int) -> int:
    """Return the number behind a number."""
    return step + 1


bench = Agent(
    name="bench",
    instructions="You add numbers with the tool, one call at a time, then you answer.",
    tools=[add],
    limits=Limits(max_steps=100, deadline_s=3600),
)
