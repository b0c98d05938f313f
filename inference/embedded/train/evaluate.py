"""Plays held-out episodes against the endpoint and prints success per kind: `python -m ...train.evaluate`.

Everything goes the way a run goes: prompts of the planner, decoding under the constraint, greedy. An episode
succeeds when every decision is right: the same calls with the same arguments, and an answer that quotes the result
word for word. Observations are the recorded ones.
"""

import argparse
import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from ....planner.prompt import render_head, render_observation
from ...constraints.decision import DecisionConstraint, ToolShape
from ...endpoint import CompletionRequest, Message
from ..checkpoint import SHIPPED, Checkpoint
from ..endpoint import EmbeddedEndpoint
from .generator import Conversation, Split, conversation
from .requests import REQUESTS, Request
from .skills import Tool

SPLITS: dict[str, Split] = {
    "(a) new values": "values",
    "(b) wordings never seen": "phrasings",
    "(c) tools never seen": "tools",
}
_ANSWER = {"type": "string"}


@dataclass
class Tally:
    """Successes and trials by kind, and a few failures to look at."""

    counts: dict[str, list[int]] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)

    def note(self, kind: str, right: bool) -> None:
        """Count one episode."""
        for name in (kind, "all"):
            count = self.counts.setdefault(name, [0, 0])
            count[0] += right
            count[1] += 1

    def rate(self, kind: str) -> str:
        """Return the share of successes as text."""
        good, total = self.counts.get(kind, (0, 0))
        return f"{good / total:.2f}" if total else "-"


def constraint_for(tools: Sequence[Tool]) -> DecisionConstraint:
    """Return the decisions that a text-answering agent with these tools may take."""
    shapes = tuple(
        ToolShape(t.name, json.dumps(t.parameters, ensure_ascii=False, separators=(",", ":"))) for t in tools
    )
    return DecisionConstraint(shapes, '{"type":"string"}')


async def decide(endpoint: EmbeddedEndpoint, messages: Sequence[Message], constraint: DecisionConstraint) -> Any:
    """Return the model's decision as JSON."""
    parts = [delta.text async for delta in endpoint.stream(CompletionRequest(tuple(messages), constraint))]
    return json.loads("".join(parts))


async def play(endpoint: EmbeddedEndpoint, conversation: Conversation, tally: Tally) -> None:
    """Play the first episode of a conversation."""
    constraint = constraint_for(conversation.tools)
    messages = [Message("system", conversation.turns[0].content)]
    for turn in conversation.episodes()[0]:
        if turn.decision is None:
            messages.append(Message("user", turn.content))
            continue
        said = await decide(endpoint, messages, constraint)
        if not _same(said, turn.decision):
            tally.failures.append(f"{messages[1].content!r}\n  said {said}\n  want {turn.content}")
            tally.note(conversation.kinds[0], False)
            return
        messages.append(Message("assistant", turn.content))
    tally.note(conversation.kinds[0], True)


def _same(said: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Compare all but the thought."""
    return all(said.get(key) == wanted.get(key) for key in ("calls", "answer"))


async def ask(endpoint: EmbeddedEndpoint, request: Request, tally: Tally) -> None:
    """Play one request written by hand; the answer must contain the last result."""
    constraint = constraint_for(request.tools)
    messages = [
        Message("system", render_head("You are a helpful assistant.", request.tools, _ANSWER)),
        Message("user", request.task),
    ]
    right, said = True, {}
    for number, calls in enumerate(request.steps, 1):
        said = await decide(endpoint, messages, constraint)
        right = said.get("calls") == [{"tool": c.tool, "arguments": c.arguments} for c in calls]
        if not right:
            break
        observed = (render_observation(f"{number}.{i}", c.tool, c.result) for i, c in enumerate(calls, 1))
        messages += [Message("assistant", json.dumps(said, ensure_ascii=False, separators=(",", ":")))]
        messages += [Message("user", "\n".join(observed))]
    if right:
        said = await decide(endpoint, messages, constraint)
        wanted = [c.result for c in request.steps[-1]] if request.steps else ["no tool"]
        right = all(text in said.get("answer", "") for text in wanted)
    if not right:
        tally.failures.append(f"{request.task!r}\n  said {said}")
    tally.note(request.kind, right)


async def evaluate(checkpoint: Path, episodes: int, seed: str, shown: int) -> None:
    """Evaluate all splits and print a table."""
    endpoint = EmbeddedEndpoint(Checkpoint(checkpoint))
    tallies: dict[str, Tally] = {}
    for title, split in SPLITS.items():
        tallies[title] = Tally()
        for index in range(episodes):
            rng = Random(f"evaluate:{split}:{seed}:{index}")
            await play(endpoint, conversation(rng, split, episodes=1, most_tools=10), tallies[title])
    tallies["(f) by hand"] = Tally()
    for request in REQUESTS:
        await ask(endpoint, request, tallies["(f) by hand"])
    await endpoint.aclose()
    show(tallies, shown)


def show(tallies: Mapping[str, Tally], shown: int) -> None:
    """Print the table, then some failures of each split."""
    kinds = ["all", "calculate", "convert_units", "one", "parallel", "chain", "error", "no_tool"]
    print("| set | trials | " + " | ".join(kinds) + " |")
    print("|---" * (len(kinds) + 2) + "|")
    for title, tally in tallies.items():
        print(f"| {title} | {tally.counts['all'][1]} | " + " | ".join(map(tally.rate, kinds)) + " |")
    for title, tally in tallies.items():
        for failure in tally.failures[:shown]:
            print(f"\n{title}: {failure}")


def main() -> None:
    """Parse the command line and evaluate."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", type=Path, default=SHIPPED)
    parser.add_argument("--episodes", type=int, default=200, help="episodes of each generated set")
    parser.add_argument("--seed", default="1")
    parser.add_argument("--show", type=int, default=0, help="failures of each set to print")
    arguments = parser.parse_args()
    asyncio.run(evaluate(arguments.checkpoint, arguments.episodes, arguments.seed, arguments.show))


if __name__ == "__main__":
    main()
