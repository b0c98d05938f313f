"""Count what a text consists of."""

import re
from collections import Counter
from dataclasses import dataclass

from ...errors import ToolError
from ..decorator import tool

MAX_TEXT = 1_000_000
MAX_SHOWN_WORD = 60
FREQUENT_WORDS = 5

_WORD = re.compile(r"\w+(?:['’-]\w+|(?<=\d)[.,]\d+)*")
# One mark at a time keeps this linear; a part without a word (`...`) is no sentence.
_SENTENCE_END = re.compile(r"[.!?…](?=[\s\"'”’»)\]]|$)|[。！？]")


@dataclass(frozen=True)
class TextStatistics:
    """What `text_statistics` returns."""

    characters: int
    words: int
    lines: int
    sentences: int
    longest_word: str
    most_frequent_words: dict[str, int]


@tool(effect="read", timeout_s=10)
def text_statistics(text: str) -> TextStatistics:
    """Count the characters, words, lines and sentences of a text.

    Args:
        text: The text.
    """
    if len(text) > MAX_TEXT:
        raise ToolError(f"the text has {len(text):,} characters; at most {MAX_TEXT:,} are accepted")
    words: list[str] = _WORD.findall(text)
    frequent = Counter(word.casefold()[:MAX_SHOWN_WORD] for word in words).most_common(FREQUENT_WORDS)
    return TextStatistics(
        characters=len(text),
        words=len(words),
        lines=len(text.splitlines()),
        sentences=sum(1 for part in _SENTENCE_END.split(text) if _WORD.search(part)),
        longest_word=max(words, key=len, default="")[:MAX_SHOWN_WORD],
        most_frequent_words=dict(frequent),
    )
