"""The demonstration: plain requests, answered by the small model in this repository, every step shown as it happens.

Real parts only: the planner, decoding under constraints, tools, and a journal in a Redis that is started for it. The
model has a few million parameters and knows nothing of the world; where its answer is wrong, the demonstration says so.
"""

import asyncio
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console

from loopwright import load, load_settings, run_agent
from loopwright.cli_render import RunPrinter
from loopwright.errors import LoopwrightError
from loopwright.inference.connect import connect, describe
from loopwright.memory.connect import open_journal

HERE = Path(__file__).parent

TASKS = (
    ("desk.py", "what is 17 times 23", "391"),
    ("desk.py", "how many km are 12 miles", "19.31"),
    ("desk.py", "how many days are there between 2026-01-01 and 2026-03-01?", "59"),
    ("shop.py", "where is order A-1042?", "shipped, arrives tomorrow"),
)
"""File of the agent, request, and what a right answer contains."""


async def main() -> int:
    """Run every request; return 0 when every run ended with an answer, right or wrong."""
    console = Console(highlight=False, soft_wrap=True)
    right = answered = 0
    with tempfile.TemporaryDirectory() as folder:
        settings = load_settings(data_dir=folder)
        console.print(f"[dim]{describe(settings)}[/]")
        async with open_journal(settings) as (journal, where), connect(settings=settings) as endpoint:
            console.print(f"[dim]{where}[/]\n")
            for file, task, expected in TASKS:
                agent = load(str(HERE / file))[0]
                started = time.monotonic()
                result = await run_agent(
                    agent, task, endpoint=endpoint, journal=journal, on_event=RunPrinter(console.print).show
                )
                answer = str(result.output) if result.status == "succeeded" else ""
                is_right = expected in answer
                answered += bool(answer)
                right += is_right
                verdict = "[green]right[/]" if is_right else f"[red]wrong[/]: a right answer contains {expected!r}"
                stored = len(await journal.read(result.run_id))
                console.print(f"    {verdict} [dim]{time.monotonic() - started:.1f} s, {stored} events stored[/]\n")
    console.print(f"{right} of {len(TASKS)} answers are right; {answered} of {len(TASKS)} runs ended with an answer.")
    console.print("[dim]How often the model is right, and what it cannot do: docs/embedded-model.md[/]")
    return 0 if answered == len(TASKS) else 1


if __name__ == "__main__":
    try:
        sys.exit(asyncio.run(main()))
    except LoopwrightError as exc:
        sys.exit(f"demo: {exc}")
