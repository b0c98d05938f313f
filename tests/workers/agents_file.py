"""Agents that the worker tests load in real worker processes. What tools do is written to `LOOPWRIGHT_TEST_LOG`."""

import asyncio
import os
import signal
import time

from loopwright import Agent, tool


def note(text: str) -> None:
    """Write one line that no crash takes back."""
    with open(os.environ["LOOPWRIGHT_TEST_LOG"], "a", encoding="utf-8") as log:
        log.write(text + "\n")


@tool(effect="read")
async def lookup(key: str) -> str:
    """Return what is stored under a key."""
    return f"value of {key}"


@tool(effect="keyed")
async def pay(amount: int) -> str:
    """Pay, slowly."""
    note(f"pay begins {amount}")
    await asyncio.sleep(amount / 1000)
    note(f"pay ends {amount}")
    return "paid"


@tool(effect="keyed", timeout_s=120)
async def wait_for(name: str) -> str:
    """Wait until there is a file of this name beside the log."""
    note(f"waits for {name}")
    while not os.path.exists(os.path.join(os.path.dirname(os.environ["LOOPWRIGHT_TEST_LOG"]), name)):
        await asyncio.sleep(0.01)
    return "there"


@tool(effect="read", timeout_s=60)
async def kill(how: str) -> str:
    """End the worker that calls this."""
    note(f"kill by {how} in {os.getpid()}")
    if how == "exit":
        os._exit(3)
    os.kill(os.getpid(), signal.SIGKILL)
    return "unreachable"


@tool(effect="keyed", queue="heavy")
def crunch(number: int) -> int:
    """Compute in a worker of its own."""
    note(f"crunch {number} in {os.getpid()}")
    time.sleep(0.05)
    return number * number


@tool(effect="keyed", queue="heavy", timeout_s=120)
def grind(seconds: int) -> str:
    """Compute for long."""
    note(f"grind {seconds}")
    time.sleep(seconds)
    return "ground"


clerk = Agent(name="clerk", instructions="Answer.", tools=[lookup, pay, wait_for, kill, crunch, grind])
