"""Ask a person at the terminal whether a call may be made.

The answer is read by the event loop, not by a thread: leases go on being renewed meanwhile, and Ctrl-C ends the process
at once instead of waiting for a read to return.
"""

import asyncio
import os
import sys
import termios
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from .cli_render import printable, printable_json
from .planner.events import CallReviewed, ToolCall

if TYPE_CHECKING:
    from .agents import Agent
    from .tools import Tool

_ANSWERS = {"y": True, "yes": True, "n": False, "no": False}


class TerminalReview:
    """Shows a call in full and asks for a decision. Questions come one at a time, whatever calls run side by side.

    Args:
        agent: Whose tools, and whose agents' tools, are asked about.
    """

    def __init__(self, agent: "Agent[Any]") -> None:
        self._effects: dict[str, set[str]] = {}
        for tool in _tools_of(agent):
            self._effects.setdefault(tool.name, set()).add(tool.effect)
        self._turn = asyncio.Lock()

    async def __call__(self, call: ToolCall) -> CallReviewed | None:
        """Return the person's decision; `None`, which lets the run wait, when the input ends (Ctrl-D)."""
        async with self._turn:
            allowed = await self._ask(call)
        return None if allowed is None else CallReviewed(call.id, allowed, by="terminal")

    async def _ask(self, call: ToolCall) -> bool | None:
        tool = printable(call.tool)
        effect = " or ".join(sorted(self._effects.get(call.tool, ()))) or "unknown"
        _say(f"approval needed\n    tool       {tool}\n    effect     {effect}\n")
        _say(f"    arguments  {printable_json(call.arguments)}\n")
        termios.tcflush(sys.stdin, termios.TCIFLUSH)  # what was typed before the question does not answer it
        while True:
            _say(f"allow {tool}? [y/n, Ctrl-D leaves the run waiting] ")
            line = await _read_line(sys.stdin.fileno())
            if line is None:
                _say("\n")
                return None
            if (allowed := _ANSWERS.get(line.strip().lower())) is not None:
                return allowed


def _tools_of(agent: "Agent[Any]") -> "Iterator[Tool[..., Any]]":
    """Yield an agent's tools and those of the agents that it uses as tools."""
    for tool in agent.tools:
        yield tool
        if tool.agent is not None:
            yield from _tools_of(tool.agent)


async def _read_line(descriptor: int) -> str | None:
    """Return the next line of a terminal; `None` at the end of the input."""
    read = b""
    while not read.endswith(b"\n"):
        await _readable(descriptor)
        try:
            piece = os.read(descriptor, 4096)
        except OSError:  # the terminal is gone
            return None
        if not piece:
            return None
        read += piece
    return read.decode(errors="replace")


async def _readable(descriptor: int) -> None:
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_reader(descriptor, ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(descriptor)


def _say(text: str) -> None:
    print(text, end="", file=sys.stderr, flush=True)
