"""Compiles the free segments of a walk into token matchers, under limits of time and memory, and caches them.

Every segment is small, so `outlines_core` compiles it in milliseconds: in process where the automaton is known to
stay small, in a killable child where an author's pattern decides. What it cannot say, or takes too long for, runs on
`llguidance`, which builds its automaton lazily and has limits of its own.
"""

from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from threading import Lock
from typing import TYPE_CHECKING

from ...errors import CompileFailed
from . import jail
from .lark import segment_grammar
from .leaves import longest, text_regex, value_regex
from .matchers import ChoiceMatcher, GrammarMatcher, IndexMatcher, Matcher
from .shapes import Text
from .tameness import is_tame
from .vocabulary import Vocabulary
from .walk import Choice, Free

if TYPE_CHECKING:
    import llguidance

MAX_WORK = 1_000_000
"""Longest text in characters times tokens: an index of so much work took 110 ms and 22 MB when measured."""

MAX_KEPT_WORK = 12 * MAX_WORK
"""Work kept in compiled indexes; the one unused for longest goes first."""

_GRAMMAR_WORK = MAX_WORK // 50
"""What an `llguidance` matcher counts as."""

_Engine = Callable[[], Matcher]


def matcher(segment: Choice | Free, vocabulary: Vocabulary) -> Matcher:
    """Return a fresh matcher for one segment; what it needs is compiled once and cached.

    Raises:
        CompileFailed: No engine can compile the segment within the limits.
    """
    match segment:
        case Choice(options):
            return ChoiceMatcher(options, vocabulary)
        case Free():
            return _ENGINES.get(segment, vocabulary)()


def segment_regex(free: Free) -> str | None:
    """Return a regular expression for the text of a free segment, or `None` when it takes a grammar."""
    if free.opened:
        assert isinstance(free.shape, Text)
        inside = text_regex(free.shape)
        regex = None if inside is None else f'{inside}"'
    else:
        regex = value_regex(free.shape)
    if regex is None:
        return None
    ends = f"[{''.join(chr(92) + mark for mark in free.follow)}]" if free.follow else ""
    others = "".join(f"|{chr(92)}{text}" for text in free.instead)
    return f"(?:{regex}{ends}{others})" if others else regex + ends


class _Engines:
    """Compiled segments, the most recently used ones, bounded by the work that they took."""

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[Free, Vocabulary], tuple[_Engine, int]] = OrderedDict()
        self._work = 0
        self._lock = Lock()

    def get(self, free: Free, vocabulary: Vocabulary) -> _Engine:
        """Return the engine of a segment; two threads may compile the same one at the same time."""
        key = (free, vocabulary)
        with self._lock:
            if key in self._known:
                self._known.move_to_end(key)
                return self._known[key][0]
        engine, work = _compile(free, vocabulary)
        with self._lock:
            if key not in self._known:
                self._known[key] = engine, work
                self._work += work
            while self._work > MAX_KEPT_WORK:
                self._work -= self._known.popitem(last=False)[1][1]
        return engine


_ENGINES = _Engines()


def _compile(free: Free, vocabulary: Vocabulary) -> tuple[_Engine, int]:
    """Return an engine and the work it took."""
    regex = segment_regex(free)
    work = longest(free.shape) * len(vocabulary.tokens)
    if regex is not None and work <= MAX_WORK:
        if is_tame(free.shape):
            index = jail.build_index(regex, vocabulary.tokens, vocabulary.eos_id)
            return lambda: IndexMatcher(index, vocabulary), work
        with suppress(jail.JailError):
            index = jail.run("build_index", regex, vocabulary.tokens, vocabulary.eos_id)
            return lambda: IndexMatcher(index, vocabulary), MAX_WORK
    return _grammar_engine(free, vocabulary), _GRAMMAR_WORK


def _grammar_engine(free: Free, vocabulary: Vocabulary) -> _Engine:
    import llguidance

    tokenizer, quote_id = _tokenizer(vocabulary)
    grammar = llguidance.LLMatcher.grammar_from_lark(segment_grammar(free))
    limits = llguidance.LLParserLimits(max_lexer_states=50_000, verbose_errors=False)
    first = llguidance.LLMatcher(tokenizer, grammar, log_level=0, limits=limits)
    if free.opened:
        first.consume_token(quote_id)
    if first.is_error():
        raise CompileFailed(what=free.place, problem=first.get_error().partition("\n")[0])
    return lambda: GrammarMatcher(first.deep_copy(), vocabulary)


@lru_cache(maxsize=4)
def _tokenizer(vocabulary: Vocabulary) -> "tuple[llguidance.LLTokenizer, int]":
    """Return the engine's own view of a vocabulary, and a token for an opening quote (added when there is none)."""
    import llguidance

    tokens = list(vocabulary.tokens)
    quote_id = vocabulary.id_by_bytes.get(b'"')
    if quote_id is None:
        quote_id = len(tokens)
        tokens.append(b'"')
    wrapper = llguidance.TokenizerWrapper(_View(tokens, vocabulary))
    return llguidance.LLTokenizer(wrapper, eos_token=vocabulary.eos_id), quote_id


class _View:
    """What `llguidance` asks of a tokenizer."""

    def __init__(self, tokens: list[bytes], vocabulary: Vocabulary) -> None:
        self.eos_token_id = vocabulary.eos_id
        self.bos_token_id = None
        self.tokens = tokens
        self.special_token_ids = [vocabulary.eos_id]
        self._vocabulary = vocabulary

    def __call__(self, text: bytes) -> list[int]:
        return self._vocabulary.ids_of(text)
