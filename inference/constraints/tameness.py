"""Which patterns are known to make small automata, so that nobody needs to compile them for trial.

A pattern is tame when reading it never leaves two places open: a sequence of characters and repeats of characters
in which nothing that may follow a varying repeat begins like it. Its automaton then has one state per place.
"""

from itertools import pairwise

from .leaves import text_node
from .patterns import Branch, Chars, Node, Ranges, Repeat, Sequence
from .shapes import Either, Shape, Text

MAX_PLACES = 1024


def is_tame(shape: Shape) -> bool:
    """Return whether the automaton of a scalar shape is known to stay small."""
    match shape:
        case Text(format=None):
            node = text_node(shape)
            return node is None or _fixed_places(node) <= MAX_PLACES or _is_plain(node)
        case Either(options):
            return all(is_tame(option) for option in options)
        case _:
            return True


def _fixed_places(node: Node) -> int:
    """Return how many characters a pattern spells out, counting varying repeats as too many."""
    match node:
        case Chars():
            return 1
        case Sequence(parts) | Branch(parts):
            return sum(map(_fixed_places, parts))
        case Repeat(part, least, most):
            return least * _fixed_places(part) if least == most else MAX_PLACES + 1


def _is_plain(node: Node) -> bool:
    """Return whether a pattern is a sequence of characters and their repeats, each told apart from the next."""
    parts = node.parts if isinstance(node, Sequence) else (node,)
    spans: list[tuple[Ranges, int, int | None]] = []
    for part in parts:
        match part:
            case Chars(ranges):
                spans.append((ranges, 1, 1))
            case Repeat(Chars(ranges), least, most):
                spans.append((ranges, least, most))
            case _:
                return False
    places = sum(most or least + 1 for _, least, most in spans)
    optional = any(least == 0 for _, least, _ in spans[1:])
    apart = all(a[1] == a[2] or not _meet(a[0], b[0]) for a, b in pairwise(spans))
    return places <= MAX_PLACES and apart and not optional


def _meet(left: Ranges, right: Ranges) -> bool:
    return any(a <= d and c <= b for a, b in left for c, d in right)
