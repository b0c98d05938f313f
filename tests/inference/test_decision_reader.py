"""The incremental reader yields what `json.loads` yields, wherever the stream was cut."""

import json
import random
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.planner.reader import DecisionReader

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
calls = st.fixed_dictionaries(
    {"tool": st.text(max_size=12), "arguments": st.dictionaries(st.text(), values, max_size=4)}
)
separators = st.sampled_from([(",", ":"), (", ", ": "), (" ,\n", "\t: ")])


def in_pieces(text: str, seed: int) -> list[str]:
    """Cut a text at random places."""
    chance = random.Random(seed)
    width = chance.choice((1, 2, 3, 7, 40, 1000))
    pieces = []
    while text:
        size = chance.randint(1, width)
        pieces.append(text[:size])
        text = text[size:]
    return pieces


def read(pieces: list[str]) -> tuple[list[tuple[int, Any]], str]:
    """Return the calls, parsed, and the answer's text, taken after every piece."""
    reader, found, answer = DecisionReader(), [], ""
    for piece in pieces:
        found += [(index, json.loads(text)) for index, text in reader.feed(piece)]
        answer += reader.take_answer()
    return found, answer


@given(
    thought=st.text(), given_calls=st.lists(calls, max_size=4), cut=st.integers(), style=separators, ascii=st.booleans()
)
def test_every_call_is_yielded_once_in_order_and_intact(
    thought: str, given_calls: list[Any], cut: int, style: tuple[str, str], ascii: bool
) -> None:
    text = json.dumps({"thought": thought, "calls": given_calls}, separators=style, ensure_ascii=ascii)
    found, answer = read(in_pieces(text, cut))
    assert found == list(enumerate(given_calls))
    assert answer == ""


@given(thought=st.text(), answer=st.text(), cut=st.integers(), style=separators, ascii=st.booleans())
def test_a_text_answer_grows_to_exactly_the_decoded_string(
    thought: str, answer: str, cut: int, style: tuple[str, str], ascii: bool
) -> None:
    text = json.dumps({"thought": thought, "answer": answer}, separators=style, ensure_ascii=ascii)
    assert read(in_pieces(text, cut)) == ([], answer)


@given(answer=st.lists(values) | st.dictionaries(st.text(), values), cut=st.integers())
def test_an_answer_of_another_type_gives_no_text_and_no_calls(answer: Any, cut: int) -> None:
    nested = {"thought": "t", "answer": {"calls": [{"tool": "x"}], "answer": "inner", "value": answer}}
    assert read(in_pieces(json.dumps(nested), cut)) == ([], "")


@given(text=st.text(alphabet='{}[]",:\\u0dce \n'), cut=st.integers())
def test_text_that_is_no_decision_never_raises(text: str, cut: int) -> None:
    reader = DecisionReader()
    for piece in in_pieces(text, cut):
        reader.feed(piece)
        reader.take_answer()


def test_a_call_is_yielded_by_the_very_piece_that_closes_it() -> None:
    reader = DecisionReader()
    assert reader.feed('{"thought":"a","calls":[{"tool":"t","arguments":{}') == []
    assert reader.feed("}") == [(0, '{"tool":"t","arguments":{}}')]
    assert not reader.is_done
    assert reader.feed("]}") == []
    assert reader.is_done


def test_prose_and_fences_around_the_decision_are_skipped() -> None:
    text = 'Sure, "here":\n```json\n{"thought":"a","calls":[{"tool":"t","arguments":{}}]}\n``` {"calls":[{"tool":"u"}]}'
    found, _ = read(in_pieces(text, 3))
    assert found == [(0, {"tool": "t", "arguments": {}})]


@pytest.mark.parametrize(
    "text", ['{"calls":[{"tool":"a"]', '{"calls":[{"tool":"a"', '{"calls":{"tool":"a"}}', '[{"calls":[]}]']
)
def test_calls_that_do_not_close_as_objects_of_the_list_are_not_yielded(text: str) -> None:
    assert read([text])[0] == []


def test_a_megabyte_of_arguments_in_small_pieces_takes_linear_time() -> None:
    """Keeping the whole text and copying it for each piece would take minutes."""
    text = json.dumps({"thought": "", "calls": [{"tool": "t", "arguments": {"blob": "a\\n" * 250_000}}]})
    started = time.process_time()
    found, _ = read([text[at : at + 4] for at in range(0, len(text), 4)])
    assert len(found) == 1
    assert time.process_time() - started < 10
