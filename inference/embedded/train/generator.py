"""Seeded conversations: a head with tools, then tasks, decisions and observations exactly as the planner renders them.

Several tasks share one head, so that a row of training data holds many decisions per prompt token.
`Split` says what is kept out of training: wordings, tools (nouns and parameter names), or only values.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import Any, Literal

from ....planner.prompt import render_head, render_observation, render_task
from . import builtin_skills, invented
from .episodes import Episode, draw_episode
from .skills import Skill, Tool

Split = Literal["train", "values", "phrasings", "tools"]

_INSTRUCTIONS = (
    "You are a helpful assistant.",
    "Use the tools.",
    "Answer with the tools you have.",
    "You help people with their requests. Use tools where they fit.",
    "Be brief.",
    "Answer the request. Call tools when needed.",
    "You are an assistant that calls tools and reports what they return.",
    "Solve the task step by step.",
    "",
    "You are a careful assistant. Never guess.",
    "Do what the user asks.",
    "You work for a small company and answer its staff.",
    "Help the user. State the result.",
    "Plain requests, plain answers.",
    "You are an operations agent.",
    "Answer questions with current data from the tools.",
)
_ANSWER = {"type": "string"}


@dataclass(frozen=True)
class Turn:
    """One message; an assistant's carries its decision, which is rendered with marks of what is free."""

    role: Literal["system", "user", "assistant"]
    content: str
    decision: dict[str, Any] | None = None


@dataclass(frozen=True)
class Conversation:
    """A head, its tools and episodes one after the other."""

    tools: tuple[Tool, ...]
    turns: tuple[Turn, ...]
    kinds: tuple[str, ...]

    def episodes(self) -> list[tuple[Turn, ...]]:
        """Return the turns of each episode, in order."""
        found: list[tuple[Turn, ...]] = []
        start = 1
        for index, turn in enumerate(self.turns):
            if turn.decision is not None and "answer" in turn.decision:
                found.append(self.turns[start : index + 1])
                start = index + 1
        return found


def decision_text(decision: dict[str, Any]) -> str:
    """Return a decision as the model writes it."""
    return json.dumps(decision, ensure_ascii=False, separators=(",", ":"))


def skills(rng: Random, split: Split, most: int) -> list[Skill]:
    """Return the skills of one head: built-in, invented or mixed, names distinct, in random order."""
    count = min(most, rng.choice((1, 2, 2, 3, 3, 3, 4, 4, 4, 5, 6, 8, 10)))
    held = split == "tools"
    kind = 1.0 if held else rng.random()
    if kind < 0.6:
        wanted = rng.sample(builtin_skills.NAMES, count)
        for position, name in enumerate(("calculate", "convert_units")[:count]):
            if rng.random() < 0.5 and name not in wanted:
                wanted[position] = name
        return [builtin_skills.make(name, rng) for name in wanted]
    found: dict[str, Skill] = {}
    while len(found) < count:
        if kind < 0.8 and rng.random() < 0.5:
            name = rng.choice(("calculate", "convert_units", *builtin_skills.NAMES))
            skill: Skill = builtin_skills.make(name, rng)
        else:
            skill = invented.make(rng, held=held)
        found.setdefault(skill.tool.name, skill)
    chosen = list(found.values())
    rng.shuffle(chosen)
    return chosen


def conversations(seed: str, split: Split, *, episodes: int = 50, most_tools: int = 10) -> Iterator[Conversation]:
    """Yield conversations for ever; the same arguments give the same ones.

    Args:
        seed: Any text.
        split: What is kept out of, or in, training.
        episodes: Tasks per conversation.
        most_tools: Most tools in a head.
    """
    index = 0
    while True:
        rng = Random(f"{split}:{seed}:{index}")
        yield conversation(rng, split, episodes=episodes, most_tools=most_tools)
        index += 1


def conversation(rng: Random, split: Split, *, episodes: int, most_tools: int) -> Conversation:
    """Return one conversation."""
    offered = skills(rng, split, most_tools)
    tools = tuple(skill.tool for skill in offered)
    turns = [Turn("system", render_head(rng.choice(_INSTRUCTIONS), tools, _ANSWER))]
    kinds = []
    for _ in range(episodes):
        episode = draw_episode(rng, offered, held=split == "phrasings", unseen=split == "tools")
        kinds.append(episode.kind)
        turns.extend(_turns(episode))
    return Conversation(tools, tuple(turns), tuple(kinds))


def _turns(episode: Episode) -> Iterator[Turn]:
    """Yield the messages of one episode: task, decision, observations, decision, ... answer."""
    yield Turn("user", render_task(episode.task))
    for number, step in enumerate(episode.steps, 1):
        calls = [{"tool": c.tool, "arguments": c.arguments} for c in step.calls]
        decision = {"thought": step.thought, "calls": calls}
        yield Turn("assistant", decision_text(decision), decision)
        observed = (
            render_observation(f"{number}.{index}", call.tool, call.result, error=call.error)
            for index, call in enumerate(step.calls, 1)
        )
        yield Turn("user", "\n".join(observed))
    final = {"thought": episode.last_thought, "answer": episode.answer}
    yield Turn("assistant", decision_text(final), final)
