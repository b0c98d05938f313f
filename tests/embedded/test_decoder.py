"""Decoding asks the model exactly where training scored it, and reads exactly the tokens that training made."""

from collections.abc import Sequence
from itertools import islice
from typing import Any, cast

import numpy
import pytest

from loopwright.inference.constraints.decision import DecisionConstraint, ToolShape
from loopwright.inference.embedded import Checkpoint
from loopwright.inference.embedded.codec import Codec
from loopwright.inference.embedded.decoder import Decoder
from loopwright.inference.embedded.network import TokenSequence
from loopwright.inference.embedded.sampler import Sampler
from loopwright.inference.embedded.train.encode import Encoder
from loopwright.inference.embedded.train.evaluate import constraint_for
from loopwright.inference.embedded.train.generator import conversations
from loopwright.inference.endpoint import Sampling


class Scripted:
    """Stands in for the network: its favourite token is always the next one of a script."""

    def __init__(self, script: Sequence[int]) -> None:
        self.script, self.tokens, self.asked = list(script), list[int](), set[int]()

    def read(self, ids: Sequence[int]) -> Any:
        self.tokens.extend(ids)
        assert self.script[: len(self.tokens)] == self.tokens
        self.asked.add(len(self.tokens))
        logits = numpy.zeros(4096)
        logits[self.script[len(self.tokens)]] = 1
        return logits


@pytest.fixture(scope="module")
def codec() -> Codec:
    return Codec(Checkpoint().load_tokenizer())


def decode(
    codec: Codec, sequence: Scripted, constraint: DecisionConstraint | None, most_tokens: int = 999, stop: bool = False
) -> tuple[str, str]:
    parts: list[str] = []
    sampler, memory = Sampler(Sampling()), cast(TokenSequence, sequence)
    decoder = Decoder(codec, memory, sampler, parts.append, lambda: stop, most_tokens)
    reason = decoder.run([], constraint)
    return "".join(parts), reason


def test_the_model_is_asked_exactly_where_training_scored_it(codec: Codec) -> None:
    encoder = Encoder(Checkpoint().load_tokenizer())
    for conversation in islice(conversations("decoder", "train", episodes=2), 40):
        constraint = constraint_for(conversation.tools)
        for turn in conversation.turns:
            if turn.decision is not None:
                wanted = encoder.decision(turn.decision, conversation.tools)
                sequence = Scripted(wanted.ids)
                assert decode(codec, sequence, constraint) == (turn.content, "stop")
                assert sequence.asked == {at for at, free in enumerate(wanted.free) if free}


def test_a_tool_whose_name_begins_another_can_be_chosen(codec: Codec) -> None:
    tools = tuple(ToolShape(name, '{"type":"object","properties":{}}') for name in ("get_order", "get_order_status"))
    for name in ("get_order", "get_order_status"):
        text = f'{{"thought":"x","calls":[{{"tool":"{name}","arguments":{{}}}}]}}'
        script = [i for piece in ('{"thought":"', "x", '"', text[14:]) for i in codec.encode(piece)]
        assert decode(codec, Scripted(script), DecisionConstraint(tools, None, max_calls=1)) == (text, "stop")


def test_too_few_tokens_end_the_text_by_length(codec: Codec) -> None:
    script = codec.encode('{"thought":"') + codec.encode("long" * 50)
    text, reason = decode(codec, Scripted(script), DecisionConstraint((), '{"type":"string"}'), most_tokens=9)
    assert reason == "length"
    assert text.startswith('{"thought":"long')


def test_a_stop_is_noticed_before_the_next_pass(codec: Codec) -> None:
    assert decode(codec, Scripted([]), DecisionConstraint((), '{"type":"string"}'), stop=True)[1] == "abort"
