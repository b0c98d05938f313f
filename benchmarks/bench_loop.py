"""Race R1: the CPU that one step of a ten-step run costs, ours against the peers and a bare loop.

Every measurement is a process of its own; rounds go through all subjects in turn, so that a busy minute of the
machine falls on all of them; a figure is the median of the rounds. `--quick` shows that everything runs: its
figures mean nothing and are not written down. Nothing here fails on a slow figure.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from peers.build_env import build_env
from report import describe, machine, measure, median, number, publish, spread, table, target

ROUNDS = 5
BUDGET_S = "0.5"
"""CPU seconds that each figure of a sample is taken over."""

OURS = "Loopwright"
FLOOR = "bare loop"
TARGET_US = 40.0
TARGET_LEAD = 10.0
TARGET_SLOPE = 1.2
PEERS = ("agno", "smolagents", "langgraph", "pydantic_ai", "openai_agents", "dspy")
HEADER = (
    "10 steps, 9 tool calls",
    "CPU us/step",
    "low-high",
    "x bare",
    "x ours",
    "1 step",
    "50 steps",
    "step 50 / step 2",
    "create agent us",
    "RSS MiB",
)
Samples = Mapping[str, Sequence[Mapping[str, Any]]]


def main() -> None:
    """Measure, print the table, and write it down unless `--quick`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one round of two runs each, to see that all work")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--only", nargs="*", help="names of subjects, such as agno; default: all")
    options = parser.parse_args()
    where = machine()
    samples = collect(subjects(options.only), rounds=1 if options.quick else options.rounds, quick=options.quick)
    text = render(samples)
    print(f"\n{text}")
    if not options.quick and not options.only:
        publish("loop", f"# CPU per step\n\n{describe(where)}\n\n{text}", {"machine": where, "samples": samples})


def subjects(only: Sequence[str] | None = None) -> list[tuple[Path, str]]:
    """Return interpreter and module of every subject, the floor and ours first."""
    ours = Path(sys.executable)
    chosen = [(ours, "bare_loop"), (ours, "ours_loop")]
    peers = [peer for peer in PEERS if not only or peer in only]
    if peers:
        python = build_env()
        chosen += [(python, f"peers.peer_{peer}") for peer in peers]
    return chosen


def collect(chosen: Sequence[tuple[Path, str]], *, rounds: int, quick: bool) -> dict[str, list[dict[str, Any]]]:
    """Return all samples by name of the subject, in the order of `chosen`."""
    samples: dict[str, list[dict[str, Any]]] = {}
    for turn in range(1, rounds + 1):
        for python, module in chosen:
            sample = measure(python, module, "--full", *(("--runs", "2") if quick else ("--budget-s", BUDGET_S)))
            samples.setdefault(sample["name"], []).append(sample)
            print(f"{turn}/{rounds} {sample['name']}: {sample['cpu_us_per_step']} us", file=sys.stderr)
    return samples


def render(samples: Samples) -> str:
    """Return the table, fastest first, and how the targets fare."""
    cost = {name: median(taken, "cpu_us_per_step") for name, taken in samples.items()}
    rows = []
    for name in sorted(cost, key=cost.__getitem__):
        taken = samples[name]
        rows.append(
            (
                f"{name} {taken[0]['version']}".strip(),
                number(cost[name]),
                spread(taken, "cpu_us_per_step"),
                number(cost[name] / cost[FLOOR]),
                number(cost[name] / cost[OURS]),
                number(median(taken, "cpu_us_per_step_of_1")),
                number(median(taken, "cpu_us_per_step_of_50")),
                number(median(taken, "slope")),
                number(median(taken, "create_agent_us")),
                number(median(taken, "rss_mib")),
            )
        )
    return f"{table(HEADER, rows)}\n{verdict(samples, cost)}"


def verdict(samples: Samples, cost: Mapping[str, float]) -> str:
    """Return our targets with what was reached, one line each."""
    rivals = {name: us for name, us in cost.items() if name not in (OURS, FLOOR)}
    slope = median(samples[OURS], "slope")
    lines = [target("CPU per step", f"{number(cost[OURS])} us", f"<= {TARGET_US:.0f} us", cost[OURS] <= TARGET_US)]
    if rivals:
        best = min(rivals, key=rivals.__getitem__)
        lead = rivals[best] / cost[OURS]
        lines.append(
            target(f"lead over the best peer, {best}", f"{lead:.1f}x", f">= {TARGET_LEAD:.0f}x", lead >= TARGET_LEAD)
        )
    lines.append(target("step 50 / step 2", f"{slope:.2f}", f"<= {TARGET_SLOPE}", slope <= TARGET_SLOPE))
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
