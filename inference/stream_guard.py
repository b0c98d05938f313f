"""Notice early that a model has stopped saying anything: whitespace or a short repetition without end.

A grammar makes invalid tokens impossible, not useless ones: a model may spend its whole budget on blanks between two
JSON tokens or on one word repeated inside a string. The guard follows the stream as JSON text, in pieces of one or
more tokens, and stops it within `WASTE_TOKENS`.

It is built not to interrupt legitimate output: it counts tokens rather than characters, because a ruler of eighty
dashes is a handful of tokens and a runaway is not; and it asks for many repeats of a short period, because rows of a
table resemble one another too.
"""

import re
from collections import deque

from ..errors import StreamRunaway

WASTE_TOKENS = 64
"""A runaway is cut off before it has wasted more tokens than this."""

WINDOW_TOKENS = 56
"""Tokens that must all belong to one repetition; below `WASTE_TOKENS` by the step between two checks."""

CHECK_EVERY = 8
"""Tokens between two looks at the window."""

MIN_REPEATS = 8
"""Repeats of the period inside the window; seven tokens are thus the longest period."""

BLANK_CHARS = 64
"""Longest whitespace between two JSON tokens; four-space indentation fifteen levels deep."""

_QUOTES = re.compile(r'\\.|["\\]', re.DOTALL)
_BLANK_TAIL = re.compile(r"\s*\Z")
_NUMBER = re.compile(r"[0-9.eE+-]+\Z")


class StreamGuard:
    """Watches one completion. Feed it each piece of text; it raises when the stream runs away.

    Args:
        endpoint: Name put into the error.
        json: The text is meant to be JSON. Otherwise all of it is treated like the inside of a string.
        bounded: The engine bounds every array, so a repetition between strings comes to an end by itself
            (forty zeros in a row are a legitimate matrix). Blanks and digits are watched all the same.
    """

    __slots__ = (
        "_blanks",
        "_bounded",
        "_endpoint",
        "_escaped",
        "_in_string",
        "_json",
        "_next",
        "_pieces",
        "_seen",
        "_since",
    )

    def __init__(self, endpoint: str = "", *, json: bool = True, bounded: bool = False) -> None:
        self._endpoint = endpoint
        self._json = json
        self._bounded = bounded
        self._in_string = not json
        self._escaped = False
        self._blanks = 0
        self._seen = 0
        self._since = 0
        self._next = WINDOW_TOKENS
        self._pieces: deque[tuple[str, int]] = deque()

    def feed(self, text: str, tokens: int = 1) -> None:
        """Take the next piece of the stream.

        Args:
            text: Characters that arrived.
            tokens: How many tokens they are, as far as the wire shows it.

        Raises:
            StreamRunaway: The stream has been repeating itself; asking once more may help.
        """
        if not text:
            return
        self._seen += tokens
        self._pieces.append((text, tokens))
        if self._json and (self._escaped or '"' in text or "\\" in text):
            self._follow_quotes(text)
        self._count_blanks(text)
        if self._seen >= self._next:
            self._next = self._seen + CHECK_EVERY
            self._check_window()

    def _follow_quotes(self, text: str) -> None:
        """Know whether the stream stands inside a string, and since which token."""
        start = 1 if self._escaped else 0
        self._escaped = False
        for match in _QUOTES.finditer(text, start):
            found = match.group()
            if found == '"':
                self._in_string = not self._in_string
                self._since = self._seen
            elif found == "\\":
                self._escaped = True

    def _count_blanks(self, text: str) -> None:
        if self._in_string or not text[-1].isspace():
            self._blanks = 0
        elif text.isspace():
            self._blanks += len(text)
        else:
            tail = _BLANK_TAIL.search(text)
            self._blanks = len(tail.group()) if tail else 0
        if self._blanks >= BLANK_CHARS:
            raise self._runaway("whitespace without end", self._blanks)

    def _check_window(self) -> None:
        """Raise when the last `WINDOW_TOKENS` tokens are one short text repeated."""
        pieces = self._pieces
        held = sum(count for _, count in pieces)
        while held - pieces[0][1] >= WINDOW_TOKENS:
            held -= pieces.popleft()[1]
        window = "".join(text for text, _ in pieces)
        settled = self._seen - self._since >= WINDOW_TOKENS
        if self._bounded and not (settled and (self._in_string or _NUMBER.fullmatch(window))):
            return
        if _repeats(window):
            raise self._runaway("the same text over and over", held)
        if settled and not self._in_string and _NUMBER.fullmatch(window):
            raise self._runaway("digits without end", held)

    def _runaway(self, problem: str, wasted: int) -> StreamRunaway:
        return StreamRunaway(self._endpoint, problem, min(wasted, WASTE_TOKENS))


def _repeats(window: str) -> bool:
    """Whether the window is one period repeated at least `MIN_REPEATS` times.

    A text has period p when it equals itself shifted by p, so its part behind the longest allowed period is
    searched for at every shorter distance: one call of the C library's search.
    """
    longest = len(window) // MIN_REPEATS
    return longest > 0 and window.rfind(window[longest:], 0, len(window) - 1) >= 0
