"""Training data is decided by its seed, rendered by the planner, and free of what is held out."""

import json
from itertools import islice
from typing import get_args

import pytest

from loopwright.inference.embedded.train.generator import Conversation, Split, conversations
from loopwright.inference.embedded.train.groups import NOUNS
from loopwright.inference.embedded.train.slots import is_held
from loopwright.planner.prompt import PROTOCOL


def some(split: Split, count: int = 40, seed: str = "test") -> list[Conversation]:
    return list(islice(conversations(seed, split, episodes=6), count))


@pytest.mark.parametrize("split", get_args(Split))
def test_the_same_seed_gives_the_same_conversations(split: Split) -> None:
    assert some(split, 10) == some(split, 10)
    assert some(split, 10) != some(split, 10, "other")


def test_every_decision_is_compact_json_for_tools_of_its_head() -> None:
    for conversation in some("train"):
        assert PROTOCOL in conversation.turns[0].content
        names = {tool.name for tool in conversation.tools}
        for turn in conversation.turns:
            if turn.decision is not None:
                assert json.dumps(json.loads(turn.content), ensure_ascii=False, separators=(",", ":")) == turn.content
                assert {call["tool"] for call in turn.decision.get("calls", ())} <= names


def test_every_kind_of_episode_appears() -> None:
    kinds = {kind for conversation in some("train") for kind in conversation.kinds}
    assert kinds == {"one", "calculate", "convert_units", "parallel", "chain", "error", "no_tool"}


def test_held_out_nouns_and_wordings_never_reach_training() -> None:
    train = "\n".join(turn.content for c in some("train", 200) for turn in c.turns)
    names = {tool.name for c in some("train", 200) for tool in c.tools}
    assert not any(f"_{noun}" in name for noun in NOUNS if is_held(noun) for name in names if name.endswith(noun))
    for wording in ("lots of", "rewrite", "what became of", "goes in", "while you are at it", "kindly"):
        assert wording not in train


def test_held_out_tools_are_made_of_held_out_nouns() -> None:
    names = [tool.name for c in some("tools") for tool in c.tools]
    assert not any(name.endswith(f"_{noun}") for name in names for noun in ("order", "invoice") if not is_held(noun))
