"""The agents of the chaos tests: one tool for each effect class, which write into the sink what they do."""

import asyncio
import os
import signal
import time

from loopwright import Agent, Context, Limits, Reconciled, tool

from .failpoints import die_at
from .sink import note, noted

TOOL_S = float(os.environ.get("CHAOS_TOOL_S", "0.005"))


async def act(context: Context, name: str, effect: str) -> str:
    """Have an effect, and take some time over it."""
    die_at("inside, not sent")
    facts = {"run": context.run_id, "call": context.call_id, "key": context.key, "attempt": context.attempt}
    note("sent", tool=name, effect=effect, **facts)
    die_at("inside, sent")
    await asyncio.sleep(TOOL_S)
    return f"{name} {context.call_id} done"


@tool(effect="read")
async def look(step: int, context: Context) -> str:
    """Look something up."""
    return await act(context, "look", "read")


@tool(effect="keyed")
async def post(step: int, context: Context) -> str:
    """Send something to a receiver that knows keys."""
    return await act(context, "post", "keyed")


@tool(effect="once")
async def pay(step: int, context: Context) -> str:
    """Do what must not be done twice."""
    return await act(context, "pay", "once")


def found_out(key: str) -> Reconciled:
    """Ask the receiver what became of a transfer."""
    known = any(each["key"] == key for each in noted() if each["kind"] == "sent")
    return Reconciled("done", "found done") if known else Reconciled("not_sent")


@tool(effect="once", reconcile=found_out)
async def wire(step: int, context: Context) -> str:
    """Do what must not be done twice, at a receiver that can be asked."""
    return await act(context, "wire", "once")


@tool(effect="read")
async def crash(step: int) -> str:
    """Kill the worker."""
    os.kill(os.getpid(), signal.SIGKILL)
    return "never"


@tool(effect="once", timeout_s=120)
async def linger(step: int, context: Context) -> str:
    """Take so long that a cancellation meets it."""
    note("sent", tool="linger", effect="once", run=context.run_id, call=context.call_id, key=context.key)
    await asyncio.sleep(60)
    return "too late"


@tool(effect="once", timeout_s=120)
def grind(step: int, context: Context) -> str:
    """Block a thread for a moment, as a tool does that knows nothing of event loops."""
    note("sent", tool="grind", effect="once", run=context.run_id, call=context.call_id, key=context.key)
    time.sleep(TOOL_S)
    return "ground"


chaos = Agent(
    name="chaos",
    instructions="Do as you are told.",
    tools=[look, post, pay, wire, crash, linger, grind],
    limits=Limits(max_steps=50, deadline_s=600),
)
