"""Token masks for one segment of a walk, behind one small interface for three engines.

Choices need no automaton: the bytes left of each live option are looked up in the vocabulary. Free text runs on a
compiled `outlines_core` index, or on `llguidance` where a regular expression cannot say it or takes too long.
"""

from typing import TYPE_CHECKING, Protocol

from .vocabulary import Vocabulary

if TYPE_CHECKING:
    import llguidance
    import numpy
    import outlines_core
    from numpy.typing import NDArray

    Mask = NDArray[numpy.bool_]


class Matcher(Protocol):
    """Says which tokens may come next in one segment. Used once, from start to end."""

    def mask(self) -> "Mask":
        """Return one boolean per token id: whether the token may come next."""
        ...

    def advance(self, token_id: int) -> None:
        """Take a token.

        Raises:
            ValueError: The mask does not allow it.
        """
        ...

    def is_finished(self) -> bool:
        """Return whether the segment's text is complete: nothing may follow in it."""
        ...

    def forced_tokens(self) -> list[int]:
        """Return tokens that must come next and need no model; empty when there is a choice or none are known."""
        ...


class ChoiceMatcher:
    """Tokens that lead to one of several texts, none of which begins another."""

    __slots__ = ("_left", "_vocabulary")

    def __init__(self, options: tuple[str, ...], vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary
        self._left = [option.encode() for option in options]

    def allowed(self) -> list[int]:
        """Return the ids of the tokens that may come next."""
        ids, longest = self._vocabulary.id_by_bytes, self._vocabulary.longest
        starts = {left[:size] for left in self._left for size in range(1, min(len(left), longest) + 1)}
        return sorted(ids[start] for start in starts if start in ids)

    def mask(self) -> "Mask":
        """Return which tokens may come next."""
        import numpy

        mask = numpy.zeros(len(self._vocabulary.tokens), dtype=numpy.bool_)
        mask[self.allowed()] = True
        return mask

    def advance(self, token_id: int) -> None:
        """Take a token: options that do not go on with it are out."""
        token = self._vocabulary.tokens[token_id]
        left = [option[len(token) :] for option in self._left if option.startswith(token)]
        if not token or not left:
            raise ValueError(f"token {token_id} leads to none of the options")
        self._left = left

    def is_finished(self) -> bool:
        """Return whether an option is complete."""
        return b"" in self._left

    def forced_tokens(self) -> list[int]:
        """Return the only token that may come next, if there is only one."""
        allowed = [] if self.is_finished() else self.allowed()
        return allowed if len(allowed) == 1 else []


class IndexMatcher:
    """Walks an index that `compiler` made; the first step takes the sentinel that every index begins with."""

    __slots__ = ("_bits", "_guide", "_size")

    def __init__(self, index: "outlines_core.Index", vocabulary: Vocabulary) -> None:
        import numpy
        import outlines_core

        self._size = len(vocabulary.tokens)
        self._guide = outlines_core.Guide(index)
        self._guide.advance(self._size, False)
        self._bits = numpy.zeros((self._size + 32) // 32, dtype=numpy.int32)

    def mask(self) -> "Mask":
        """Return which tokens may come next."""
        import numpy

        self._guide.write_mask_into(self._bits.ctypes.data, self._bits.size, self._bits.itemsize)
        unpacked = numpy.unpackbits(self._bits.view(numpy.uint8), count=self._size, bitorder="little")
        return unpacked.view(numpy.bool_)

    def advance(self, token_id: int) -> None:
        """Take a token."""
        self._guide.advance(token_id, False)

    def is_finished(self) -> bool:
        """Return whether the text is complete."""
        return bool(self._guide.is_finished())

    def forced_tokens(self) -> list[int]:
        """Return the only token that may come next, if there is only one."""
        return _single(self)


class GrammarMatcher:
    """Runs an `llguidance` grammar."""

    __slots__ = ("_matcher", "_size")

    def __init__(self, matcher: "llguidance.LLMatcher", vocabulary: Vocabulary) -> None:
        self._matcher, self._size = matcher, len(vocabulary.tokens)

    def mask(self) -> "Mask":
        """Return which tokens may come next; the end of text is not among them."""
        import numpy

        packed = numpy.frombuffer(self._matcher.compute_bitmask(), dtype=numpy.uint8)
        mask = numpy.unpackbits(packed, count=self._size, bitorder="little").view(numpy.bool_)
        return mask

    def advance(self, token_id: int) -> None:
        """Take a token."""
        if not self._matcher.consume_token(token_id):
            raise ValueError(self._matcher.get_error().partition("\n")[0] or f"token {token_id} is not allowed")

    def is_finished(self) -> bool:
        """Return whether the text is complete."""
        return self._matcher.is_stopped()

    def forced_tokens(self) -> list[int]:
        """Return the tokens that must come next, as far as they are forced."""
        return list(self._matcher.compute_ff_tokens())


def _single(matcher: Matcher) -> list[int]:
    if matcher.is_finished():
        return []
    allowed = matcher.mask().nonzero()[0]
    return [int(allowed[0])] if len(allowed) == 1 else []
