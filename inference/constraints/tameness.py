"""Which patterns are known to make small automata, so that nobody needs to compile them for trial.

A pattern is tame when the next character alone always says where in the pattern it belongs ("one-unambiguous":
Brüggemann-Klein and Wood, 1998). Its automaton then has one state per place, with counted repeats written out.
"""

from .leaves import text_node
from .patterns import Branch, Chars, Node, Ranges, Repeat, Sequence
from .shapes import Either, Shape, Text

MAX_PLACES = 1024


def is_tame(shape: Shape) -> bool:
    """Return whether the automaton of a scalar shape is known to stay small."""
    match shape:
        case Text(format=None):
            node = text_node(shape)
            return node is None or (_places(node) <= MAX_PLACES and _is_unambiguous(node, ()))
        case Either(options):
            return all(is_tame(option) for option in options)
        case _:
            return True


def _places(node: Node) -> int:
    """Return how many characters a pattern spells out, with counted repeats written out."""
    match node:
        case Chars():
            return 1
        case Sequence(parts) | Branch(parts):
            return sum(map(_places, parts))
        case Repeat(part, least, most):
            return (least + 1 if most is None else most) * _places(part)


def _is_unambiguous(node: Node, follow: Ranges) -> bool:
    """Return whether one character is enough to go on inside a node, behind which one of `follow` may come."""
    match node:
        case Chars():
            return True
        case Sequence(parts):
            for part in reversed(parts):
                if not _is_unambiguous(part, follow):
                    return False
                follow = _first(part) + (follow if _may_be_empty(part) else ())
            return True
        case Branch(options):
            seen = follow if any(map(_may_be_empty, options)) else ()
            for option in options:
                if _meet(seen, _first(option)) or not _is_unambiguous(option, follow):
                    return False
                seen += _first(option)
            return True
        case Repeat(part, least, most):
            varies = least != most or _may_be_empty(part)
            inside = _first(part) + follow if most != 1 else follow
            return not (varies and _meet(_first(part), follow)) and _is_unambiguous(part, inside)


def _first(node: Node) -> Ranges:
    match node:
        case Chars(ranges):
            return ranges
        case Repeat(part):
            return _first(part)
        case Branch(options):
            return tuple(span for option in options for span in _first(option))
        case Sequence(parts):
            found: Ranges = ()
            for part in parts:
                found += _first(part)
                if not _may_be_empty(part):
                    break
            return found


def _may_be_empty(node: Node) -> bool:
    match node:
        case Chars():
            return False
        case Repeat(part, least):
            return least == 0 or _may_be_empty(part)
        case Branch(options):
            return any(map(_may_be_empty, options))
        case Sequence(parts):
            return all(map(_may_be_empty, parts))


def _meet(left: Ranges, right: Ranges) -> bool:
    return any(a <= d and c <= b for a, b in left for c, d in right)
