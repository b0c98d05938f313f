"""Random decoding under the grammar of a whole decision: the model that knows nothing but the mask."""

import json
import random

import llguidance
import pytest

from loopwright.inference.constraints import compiler
from loopwright.inference.constraints.decision import DecisionConstraint, ToolShape
from loopwright.inference.constraints.lark import decision_grammar, max_bytes, max_chars
from loopwright.inference.constraints.sampling import random_decision

from .support import constraint_over, problems_of, vocabulary

VOCABULARY = vocabulary()
TOKENIZER, _ = compiler._tokenizer(VOCABULARY)


def matcher_of(constraint: DecisionConstraint) -> llguidance.LLMatcher:
    grammar = llguidance.grammar_from("grammar", decision_grammar(constraint))  # as a vLLM server reads it
    matcher = llguidance.LLMatcher(TOKENIZER, grammar, log_level=0)
    assert not matcher.is_error(), matcher.get_error()
    return matcher


def decode(matcher: llguidance.LLMatcher, rng: random.Random) -> str:
    """Draw uniformly from the mask until the grammar ends."""
    text = bytearray()
    size = len(VOCABULARY.tokens)
    while not matcher.is_stopped():
        mask = int.from_bytes(matcher.compute_bitmask(), "little")
        token = next((t for t in (rng.randrange(size) for _ in range(6)) if mask >> t & 1), None)
        if token is None:
            token = rng.choice([t for t in range(size) if mask >> t & 1])
        if token == VOCABULARY.eos_id:
            break
        assert matcher.consume_token(token), matcher.get_error()
        text += VOCABULARY.tokens[token]
    assert not matcher.is_error(), matcher.get_error()
    return text.decode()


@pytest.mark.parametrize(("tools", "decisions"), [(3, 700), (10, 700), (20, 600)])
def test_every_decision_decoded_at_random_is_valid_under_the_full_schemas(tools: int, decisions: int) -> None:
    rng = random.Random(tools)
    constraints = [constraint_over(tools, first=first) for first in range(0, 20, max(1, 40 // tools))]
    matchers = [matcher_of(constraint) for constraint in constraints]
    for number in range(decisions):
        constraint = constraints[number % len(constraints)]
        text = decode(matchers[number % len(constraints)].deep_copy(), rng)
        assert problems_of(text, constraint) == [], text
        assert len(text) <= max_chars(constraint)
        assert len(text.encode()) <= max_bytes(constraint)


def test_the_grammar_accepts_every_random_decision() -> None:
    rng = random.Random(5)
    constraint = constraint_over(20)
    fresh = matcher_of(constraint)
    for _ in range(200):
        text = random_decision(constraint, rng)
        matcher = fresh.deep_copy()
        tokens = TOKENIZER.tokenize_bytes(text.encode())
        assert matcher.try_consume_tokens(tokens) == len(tokens), text
        assert matcher.is_accepting(), text


@pytest.mark.parametrize(
    "text",
    [
        '{"thought":"","calls":[]}',
        '{"thought":"","calls":[{"tool":"other","arguments":{}}]}',
        '{ "thought":"","answer":""}',
        '{"answer":""}',
        '{"thought":"","answer":-0.0000001}',
        '{"thought":"","answer":1e5}',
        '{"thought":"","answer":-2}',
        '{"thought":"","answer":"\\u0041"}',
    ],
)
def test_the_grammar_refuses_what_is_no_decision(text: str) -> None:
    tokens = TOKENIZER.tokenize_bytes(text.encode())
    matcher = matcher_of(constraint_over(20))
    assert matcher.try_consume_tokens(tokens) < len(tokens) or not matcher.is_accepting()


def test_a_constraint_without_tools_must_answer_and_one_without_answer_must_call() -> None:
    rng = random.Random(1)
    answering = DecisionConstraint((), '{"type":"boolean"}', thought_chars=0)
    calling = DecisionConstraint(
        (ToolShape("go", '{"type":"object","properties":{}}'),), None, max_calls=1, thought_chars=0
    )
    assert json.loads(decode(matcher_of(answering), rng)).keys() == {"thought", "answer"}
    assert decode(matcher_of(calling), rng) == '{"thought":"","calls":[{"tool":"go","arguments":{}}]}'
