"""Text statistics: plain counts, in bounded time."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.errors import ToolError
from loopwright.tools.builtin import text_statistics


def test_a_text_is_counted() -> None:
    found = text_statistics("The cat sat. The cat's mat is 3.5 m!\nEnd")
    assert (found.characters, found.words, found.lines, found.sentences) == (40, 10, 2, 3)
    assert found.longest_word == "cat's"
    assert found.most_frequent_words["the"] == 2
    assert len(found.most_frequent_words) == 5


def test_an_empty_text_has_nothing() -> None:
    found = text_statistics("")
    assert (found.characters, found.words, found.lines, found.sentences, found.longest_word) == (0, 0, 0, 0, "")
    assert found.most_frequent_words == {}


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("One. Two? Three!", 3),
        ("Wait... what?!", 2),
        ('He said "no." Then left.', 2),
        ("pi is 3.14 today", 1),
        ("今日は晴れ。明日は雨。", 2),
        ("...", 0),
    ],
)
def test_sentences_end_at_marks_that_end_them(text: str, sentences: int) -> None:
    assert text_statistics(text).sentences == sentences


@pytest.mark.parametrize("unit", ["a", ".", "a-", "a'", "a ", ". ", "\n", "\N{ARABIC-INDIC DIGIT THREE}", "…", "'"])
def test_a_million_characters_are_counted_in_bounded_time(unit: str) -> None:
    start = time.process_time()
    found = text_statistics(unit * (1_000_000 // len(unit)))
    assert time.process_time() - start < 3
    assert found.characters == 1_000_000
    assert len(found.longest_word) <= 60


def test_a_longer_text_is_refused() -> None:
    with pytest.raises(ToolError, match="at most 1,000,000"):
        text_statistics("x" * 1_000_001)


@given(st.text(max_size=200))
def test_counts_never_contradict_each_other(text: str) -> None:
    found = text_statistics(text)
    assert found.characters == len(text)
    assert found.sentences <= found.words <= found.characters
    assert sum(found.most_frequent_words.values()) <= found.words
