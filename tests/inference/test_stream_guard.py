"""The stream guard cuts runaways within 64 tokens and leaves legitimate output alone."""

import base64
import json
import random
import re
import time
import uuid
from collections.abc import Callable

import pytest

from loopwright.errors import StreamRunaway
from loopwright.inference.stream_guard import WASTE_TOKENS, StreamGuard

START = '{"thought":"let me see","calls":[{"tool":"note","arguments":{"text":"'


def tokens_until_alarm(guard: StreamGuard, tokens: list[str]) -> int:
    """Feed tokens until the guard raises; return how many it took, or fail."""
    for count, token in enumerate(tokens, start=1):
        try:
            guard.feed(token)
        except StreamRunaway as error:
            assert error.retryable
            assert 0 < error.wasted_tokens <= WASTE_TOKENS
            return count
    raise AssertionError("no alarm")


@pytest.mark.parametrize(
    ("before", "endless"),
    [
        ('{"thought":"a",', [" "]),
        ('{"thought":"a",', ["\n", "  ", "\t"]),
        ('{"thought":"a","calls":[', ["        "]),
        (START, [" "]),
        (START, ["\\n"]),
        (START, ["ha"]),
        (START, [" the", " same", " words", " again", ","]),
        (START, ["\\", "u", "0000"]),
        ('{"thought":"a","answer":0.', ["3"]),
        ('{"thought":"a","answer":-', ["12", "121", "2"]),
    ],
)
@pytest.mark.parametrize("bounded", [True, False])
def test_a_runaway_is_cut_within_64_tokens(before: str, endless: list[str], bounded: bool) -> None:
    guard = StreamGuard("e", bounded=bounded)
    for at in range(0, len(before), 4):
        guard.feed(before[at : at + 4])
    assert tokens_until_alarm(guard, endless * 500) <= WASTE_TOKENS


def test_calls_repeated_without_end_are_cut_where_nothing_bounds_them() -> None:
    guard = StreamGuard("e")
    assert tokens_until_alarm(guard, ['{"', "tool", '":"', "a", '"},'] * 100) <= WASTE_TOKENS


def test_prose_that_repeats_is_cut_too() -> None:
    guard = StreamGuard("e", json=False)
    assert tokens_until_alarm(guard, ["Sure", "! "] * 100) <= WASTE_TOKENS


def test_several_tokens_in_one_piece_count_as_several() -> None:
    guard = StreamGuard("e")
    guard.feed(START)
    with pytest.raises(StreamRunaway):
        for _ in range(8):
            guard.feed("ha" * 8, tokens=8)


def tokens_of(text: str, chance: random.Random) -> list[str]:
    """Cut a text into pieces of a tokenizer's usual sizes."""
    pieces = []
    while text:
        size = chance.choice((1, 2, 3, 3, 4, 4, 5, 6, 8))
        pieces.append(text[:size])
        text = text[size:]
    return pieces


WORDS = re.findall(
    "[a-z]+", "the agent reads a page of data then asks for more and writes what it found in one short line"
)

LEGITIMATE: dict[str, Callable[[random.Random], str]] = {
    "prose": lambda r: " ".join(r.choices(WORDS, k=400)),
    "base64": lambda r: base64.b64encode(r.randbytes(1500)).decode(),
    "hex": lambda r: r.randbytes(800).hex(),
    "uuids": lambda r: ", ".join(str(uuid.UUID(bytes=r.randbytes(16))) for _ in range(40)),
    "escapes": lambda r: "".join(r.choices('"\\\n\t/é€😀', k=400)),
    "code": lambda r: "\n".join(" " * 4 * r.randint(0, 6) + " ".join(r.choices(WORDS, k=5)) + ":" for _ in range(60)),
    "table": lambda r: "\n".join("| " + " | ".join(f"{r.random():.3f}" for _ in range(6)) + " |" for _ in range(40)),
    "markdown rule": lambda r: "| a | b | c | d |\n" + "|---" * 12 + "|\n" + "=" * 80 + "\n" + "-" * 80 + " end",
    "log": lambda r: "\n".join(
        f"2026-11-22T13:{r.randint(0, 59):02}:00Z INFO request done status=200" for _ in range(40)
    ),
    "digits of pi-like": lambda r: "".join(r.choices("0123456789", k=900)),
}


@pytest.mark.parametrize("kind", LEGITIMATE)
@pytest.mark.parametrize("bounded", [True, False])
def test_long_strings_raise_no_false_alarm(kind: str, bounded: bool) -> None:
    for seed in range(40):
        chance = random.Random(f"{kind}{seed}")
        decision = {"thought": "t", "calls": [{"tool": "note", "arguments": {"text": LEGITIMATE[kind](chance)}}]}
        guard = StreamGuard("e", bounded=bounded)
        for token in tokens_of(json.dumps(decision, ensure_ascii=seed % 2 == 0), chance):
            guard.feed(token)


def random_value(chance: random.Random, depth: int) -> object:
    """Return a JSON value such as tool arguments hold."""
    kinds = ["string", "integer", "number", "bool", "null"] + ["array", "object"] * (depth > 0)
    match chance.choice(kinds):
        case "string":
            return " ".join(chance.choices(WORDS, k=chance.randint(0, 30)))
        case "integer":
            return chance.randint(-(10**6), 10**12)
        case "number":
            return chance.uniform(-1e9, 1e9)
        case "bool":
            return chance.random() < 0.5
        case "array":
            return [random_value(chance, depth - 1) for _ in range(chance.randint(0, 8))]
        case "object":
            return {f"key_{n}": random_value(chance, depth - 1) for n in range(chance.randint(0, 6))}
    return None


@pytest.mark.parametrize("indent", [None, 2, 4])
def test_random_json_raises_no_false_alarm(indent: int | None) -> None:
    for seed in range(300):
        chance = random.Random(seed)
        calls = [{"tool": "t", "arguments": random_value(chance, 4)} for _ in range(3)]
        guard = StreamGuard("e")
        for token in tokens_of(json.dumps({"thought": "t", "calls": calls}, indent=indent), chance):
            guard.feed(token)


def test_a_matrix_of_zeros_is_no_runaway_where_the_grammar_bounds_it() -> None:
    guard = StreamGuard("e", bounded=True)
    for token in ['{"', "thought", '":"', '","', "answer", '":[', *["0", ","] * 200, "0", "]}"]:
        guard.feed(token)


def test_a_token_costs_a_few_microseconds() -> None:
    chance = random.Random(1)
    tokens = tokens_of(json.dumps({"thought": LEGITIMATE["prose"](chance) * 20}), chance)
    started = time.process_time()
    guard = StreamGuard("e")
    for token in tokens:
        guard.feed(token)
    assert (time.process_time() - started) / len(tokens) < 20e-6
