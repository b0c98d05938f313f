"""Compiles the free segments of a walk into token matchers, under limits of time and memory, and caches them."""

from .matchers import ChoiceMatcher, Matcher
from .vocabulary import Vocabulary
from .walk import Choice, Free


def matcher(segment: Choice | Free, vocabulary: Vocabulary) -> Matcher:
    """Return a fresh matcher for one segment; what it needs is compiled once and cached.

    Raises:
        CompileFailed: No engine can compile the segment within the limits.
    """
    match segment:
        case Choice(options):
            return ChoiceMatcher(options, vocabulary)
        case Free():
            raise NotImplementedError
