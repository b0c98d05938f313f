"""Measure the CPU that an agent framework spends around its model: one subject, one process, one JSON line.

Every subject runs the same task: a scripted model calls the tool `add` in all steps but the last and answers in the
last. Model and tool live in the process and cost next to nothing, so what remains is the framework. Imports nothing
outside the standard library, because it runs in our environment and in that of the peers.
"""

import argparse
import asyncio
import inspect
import json
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

TASK = "Add the numbers one by one."
INSTRUCTIONS = "You add numbers with the tool, one call at a time, then you answer."
ANSWER = "done"
TOOL_DESCRIPTION = "Return the sum of two integers."

DECISION = '{{"thought":"next","calls":[{{"tool":"add","arguments":{{"a":{turn},"b":1}}}}]}}'
FINAL_DECISION = f'{{"thought":"enough","answer":"{ANSWER}"}}'

WARM_UP_RUNS = 10
CREATIONS = 200
EARLY, LATE = range(2, 5), range(48, 51)  # steps whose cost stands for "step 2" and "step 50"
SLOPE_STEPS = 52
OTHER_STEPS = (1, 50)


class Script:
    """The model's side of a run: which turn it is, and how often the tool was called.

    Attributes:
        steps: Turns of one run, the answer included.
        stamps: Process CPU time at each turn in nanoseconds, while the slope is measured.
    """

    def __init__(self, steps: int) -> None:
        self.steps = steps
        self.index = 0
        self.tool_calls = 0
        self.stamps: list[int] | None = None

    def turn(self) -> int:
        """Return the number of the turn that begins now, counted from 1."""
        if self.stamps is not None:
            self.stamps.append(time.process_time_ns())
        self.index += 1
        return self.index

    def add(self, a: int, b: int) -> int:
        """Return the sum of two integers, and count the call."""
        self.tool_calls += 1
        return a + b


@dataclass(frozen=True)
class Subject:
    """One framework under measurement.

    Attributes:
        name: What the table calls it.
        package: Distribution whose version is reported; empty for none.
        define: Make the tool, as one does once per process; what that costs is not measured.
        create: Build an agent with the scripted model and the tool.
        run: Run the agent on `TASK` once and return its answer; sync or async, whichever is native.
    """

    name: str
    package: str
    define: Callable[[Script], Any]
    create: Callable[[Script, Any], Any]
    run: Callable[[Any], Any]


def main(subject: Subject, argv: Sequence[str] | None = None) -> None:
    """Measure as the command line says and print one JSON object."""
    parser = argparse.ArgumentParser(description=f"Measure {subject.name}.")
    parser.add_argument("--steps", type=int, default=10, help="steps of one run, the answer included")
    parser.add_argument("--runs", type=int, default=0, help="measured runs; 0 fills --budget-s")
    parser.add_argument("--budget-s", type=float, default=1.0, help="CPU seconds to spend when --runs is 0")
    parser.add_argument("--full", action="store_true", help="also runs of 1 and 50 steps, and step 50 against step 2")
    options = parser.parse_args(argv)
    measured = _measure(subject, options)
    report = asyncio.run(measured) if inspect.iscoroutinefunction(subject.run) else _drive(measured)
    label = {"name": subject.name, "version": version(subject.package) if subject.package else ""}
    print(json.dumps(label | report))


async def _measure(subject: Subject, options: argparse.Namespace) -> dict[str, Any]:
    report = await _measure_cost(subject, options.steps, options)
    report["rss_mib"] = round(_rss_mib(), 1)
    report["create_agent_us"] = round(_creation_us(subject, min(CREATIONS, 10 * report["runs"])), 1)
    if options.full:
        for steps in OTHER_STEPS:
            other = await _measure_cost(subject, steps, options)
            report[f"cpu_us_per_step_of_{steps}"] = other["cpu_us_per_step"]
        report |= await _measure_slope(subject, options)
    return report


async def _measure_cost(subject: Subject, steps: int, options: argparse.Namespace) -> dict[str, Any]:
    script = Script(steps)
    agent = subject.create(script, subject.define(script))
    estimate_us = await _warm_up(subject, agent, script, options)
    runs = options.runs or max(2, int(options.budget_s * 1e6 / estimate_us))
    spent_us = await _spend_us(subject, agent, script, runs)
    return {"steps": steps, "runs": runs, "cpu_us_per_step": round(spent_us / steps, 2)}


async def _measure_slope(subject: Subject, options: argparse.Namespace) -> dict[str, Any]:
    """Return what a step costs early and late in one run: medians over the runs of the time from turn to turn."""
    script = Script(SLOPE_STEPS)
    agent = subject.create(script, subject.define(script))
    await _warm_up(subject, agent, script, options)
    early: list[float] = []
    late: list[float] = []
    spent_until = time.process_time() + options.budget_s
    while len(early) < (options.runs or 5) or (not options.runs and time.process_time() < spent_until):
        stamps: list[int] = []
        script.stamps = stamps
        await _repeat(subject, agent, script, 1)
        early.append(statistics.mean(stamps[step] - stamps[step - 1] for step in EARLY) / 1e3)
        late.append(statistics.mean(stamps[step] - stamps[step - 1] for step in LATE) / 1e3)
    first, last = statistics.median(early), statistics.median(late)
    return {"step_2_us": round(first, 2), "step_50_us": round(last, 2), "slope": round(last / first, 3)}


async def _warm_up(subject: Subject, agent: Any, script: Script, options: argparse.Namespace) -> float:
    """Run a few times, so that caches are full and lazy imports done, and return what the last run cost."""
    until = time.process_time() + options.budget_s
    for _ in range(WARM_UP_RUNS):
        last_us = await _spend_us(subject, agent, script, 1)
        if options.runs or time.process_time() > until:
            break
    return last_us


async def _spend_us(subject: Subject, agent: Any, script: Script, runs: int) -> float:
    """Return the CPU time of one run in microseconds, a mean that includes what the garbage collector takes."""
    began = time.process_time_ns()
    await _repeat(subject, agent, script, runs)
    return (time.process_time_ns() - began) / 1e3 / runs


async def _repeat(subject: Subject, agent: Any, script: Script, runs: int) -> None:
    """Run the agent, and insist that each run did the work: a fast wrong answer is no result."""
    is_async = inspect.iscoroutinefunction(subject.run)
    script.tool_calls = 0
    for _ in range(runs):
        script.index = 0
        answer = await subject.run(agent) if is_async else subject.run(agent)
        if answer != ANSWER:
            raise SystemExit(f"{subject.name} answered {answer!r}")
    if script.index != script.steps or script.tool_calls != runs * (script.steps - 1):
        raise SystemExit(f"{subject.name} took {script.index} turns, {script.tool_calls} tool calls in {runs} runs")


def _creation_us(subject: Subject, count: int) -> float:
    script = Script(1)
    tool = subject.define(script)
    subject.create(script, tool)
    began = time.process_time_ns()
    for _ in range(count):
        subject.create(script, tool)
    return (time.process_time_ns() - began) / 1e3 / count


def _rss_mib() -> float:
    with open("/proc/self/status", encoding="ascii") as status:
        for line in status:
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) / 1024
    return 0.0


def _drive(coroutine: Any) -> Any:
    """Finish a coroutine that never waits, without an event loop, so that sync subjects see none."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value
    raise RuntimeError("a sync subject awaited something")
