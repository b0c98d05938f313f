"""Regular expressions of JSON Schema `pattern`s, reduced to what every engine agrees about.

Python, Rust, ECMAScript and the constraint engines read `\\d`, `\\w`, `$`, flags and anchors differently. A pattern
is parsed with Python's own parser and rebuilt from four nodes over explicit character ranges; what cannot be said
with them (look-around, back-references, anchors in the middle) is refused with its reason. The result accepts a
subset of what the original accepts: classes such as `\\d` mean their ASCII members.
"""

import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from re import _constants as sre  # type: ignore[attr-defined]
from re import _parser as sre_parser  # type: ignore[attr-defined]
from re import error as pattern_error
from typing import Any

MAX_PATTERN_CHARS = 1024
MAX_PATTERN_DEPTH = 32
MAX_REPEAT = 1000

Ranges = tuple[tuple[int, int], ...]

UNIVERSE: Ranges = ((0x9, 0xA), (0xD, 0xD), (0x20, 0x7E), (0xA0, 0xD7FF), (0xE000, 0xFFFD), (0x10000, 0x10FFFF))
"""Characters that a decoded string may hold: no control characters but tab and line ends, no surrogates."""

_DIGITS: Ranges = ((0x30, 0x39),)
_WORD: Ranges = ((0x30, 0x39), (0x41, 0x5A), (0x5F, 0x5F), (0x61, 0x7A))
_SPACE: Ranges = ((0x9, 0xA), (0xD, 0xD), (0x20, 0x20))
_ASCII: Ranges = ((0x9, 0xA), (0xD, 0xD), (0x20, 0x7E))
_ESCAPED = {0x22: '\\\\"', 0x5C: "\\\\\\\\", 0xA: "\\\\n", 0xD: "\\\\r", 0x9: "\\\\t"}
"""How a character that JSON escapes looks in a regular expression over JSON text."""


class PatternUnsupported(ValueError):
    """The pattern cannot be enforced; the message says why and what to write instead."""


@dataclass(frozen=True, slots=True)
class Chars:
    """One character out of these ranges."""

    ranges: Ranges


@dataclass(frozen=True, slots=True)
class Sequence:
    """All parts in order."""

    parts: tuple["Node", ...]


@dataclass(frozen=True, slots=True)
class Branch:
    """One of the options."""

    options: tuple["Node", ...]


@dataclass(frozen=True, slots=True)
class Repeat:
    """A part `least` to `most` times; `None` means without end."""

    part: "Node"
    least: int
    most: int | None


Node = Chars | Sequence | Branch | Repeat

ANYTHING = Repeat(Chars(UNIVERSE), 0, None)


@lru_cache(maxsize=1024)
def parse_pattern(pattern: str) -> Node:
    """Return the whole string that the pattern describes, with `ANYTHING` where it is not anchored.

    Raises:
        PatternUnsupported: It uses something that cannot be enforced.
    """
    _check_size(pattern)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", FutureWarning)
            parsed = sre_parser.parse(pattern)
    except (pattern_error, RecursionError, OverflowError, FutureWarning) as exc:
        raise PatternUnsupported(f"not a regular expression that Python reads: {exc}") from exc
    if parsed.state.flags & ~(sre.SRE_FLAG_UNICODE | sre.SRE_FLAG_ASCII):
        raise PatternUnsupported("inline flags cannot be enforced; write the classes out, such as [Aa]")
    return _anchored(list(parsed), True, True)


def value_regex(node: Node) -> str:
    """Return the pattern over the string's own characters, without anchors; `parse_pattern` reads it again."""
    return _render(node, _plain_class)


def json_regex(node: Node) -> str:
    """Return the pattern over the characters between the quotes of a JSON string."""
    return _render(node, _json_class)


@lru_cache(maxsize=4096)
def lengths(node: Node, most: int) -> int:
    """Return the lengths that matching strings can have, as a bit set cut at `most`."""
    mask = (1 << (most + 1)) - 1
    match node:
        case Chars():
            return 0b10 & mask
        case Branch(options):
            return _union(lengths(option, most) for option in options)
        case Sequence(parts):
            sums = 1
            for part in parts:
                sums = _sums(sums, lengths(part, most), mask)
            return sums
        case Repeat(part, least, most_times):
            return _repeated(lengths(part, most), least, most if most_times is None else min(most_times, most), mask)


def _repeated(once: int, least: int, times: int, mask: int) -> int:
    sums = 1
    for _ in range(min(least, mask.bit_length())):
        sums = _sums(sums, once, mask)
    reached = sums
    for _ in range(times - least):
        sums = _sums(sums, once, mask)
        if sums | reached == reached:
            break
        reached |= sums
    return reached


def _sums(left: int, right: int, mask: int) -> int:
    """Return every sum of a member of one bit set and a member of the other."""
    if right.bit_count() > left.bit_count():
        left, right = right, left
    total = 0
    while right:
        low = right & -right
        total |= left << (low.bit_length() - 1)
        right ^= low
    return total & mask


def _union(sets: Iterable[int]) -> int:
    total = 0
    for each in sets:
        total |= each
    return total


def _check_size(pattern: str) -> None:
    if len(pattern) > MAX_PATTERN_CHARS:
        raise PatternUnsupported(f"longer than {MAX_PATTERN_CHARS} characters")
    depth = deepest = 0
    for character in pattern:
        depth += (character == "(") - (character == ")")
        deepest = max(deepest, depth)
    if deepest > MAX_PATTERN_DEPTH:
        raise PatternUnsupported(f"parentheses nested deeper than {MAX_PATTERN_DEPTH}")


def _anchored(items: list[Any], left: bool, right: bool) -> Node:
    """Convert a sequence that is open to the left or right unless an anchor at that end closes it.

    The parser moves anchors that all alternatives share out of them, so groups at the ends are looked into.
    """
    while left and items and items[0] in _STARTS:
        items, left = items[1:], False
    while right and items and items[-1] in _ENDS:
        items, right = items[:-1], False
    if len(items) == 1 and _has_anchor(items[0]):
        return _group(items[0], left, right)
    before: list[Node] = [ANYTHING] * left
    after: list[Node] = [ANYTHING] * right
    if left and items and _has_anchor(items[0]):
        before, items = [_group(items[0], True, False)], items[1:]
    if right and items and _has_anchor(items[-1]):
        after, items = [_group(items[-1], False, True)], items[:-1]
    parts = [*before, _sequence(items), *after]
    return parts[0] if len(parts) == 1 else Sequence(tuple(parts))


def _group(item: Any, left: bool, right: bool) -> Node:
    """Convert a group or alternatives with anchors inside."""
    op, argument = item
    if op is sre.SUBPATTERN and not (argument[1] or argument[2]):
        return _anchored(list(argument[3]), left, right)
    if op is sre.BRANCH:
        return Branch(tuple(_anchored(list(option), left, right) for option in argument[1]))
    return _node(op, argument)


def _has_anchor(item: Any) -> bool:
    if isinstance(item, tuple | list | sre_parser.SubPattern):
        return any(_has_anchor(part) for part in item)
    return item is sre.AT


_STARTS = ((sre.AT, sre.AT_BEGINNING), (sre.AT, sre.AT_BEGINNING_STRING))
_ENDS = ((sre.AT, sre.AT_END), (sre.AT, sre.AT_END_STRING))


def _sequence(items: Iterable[Any]) -> Node:
    parts = tuple(_node(op, argument) for op, argument in items)
    return parts[0] if len(parts) == 1 else Sequence(parts)


def _node(op: Any, argument: Any) -> Node:
    if op in (sre.MAX_REPEAT, sre.MIN_REPEAT):
        least, most, part = argument
        if max(least, 0 if most is sre.MAXREPEAT else most) > MAX_REPEAT:
            raise PatternUnsupported(f"repeats something more than {MAX_REPEAT} times; use maxLength")
        return Repeat(_sequence(part), least, None if most is sre.MAXREPEAT else most)
    if op is sre.SUBPATTERN:
        _, add_flags, del_flags, part = argument
        if add_flags or del_flags:
            raise PatternUnsupported("inline flags cannot be enforced; write the classes out, such as [Aa]")
        return _sequence(part)
    if op is sre.BRANCH:
        return Branch(tuple(_sequence(option) for option in argument[1]))
    return _chars(_ranges(op, argument))


def _ranges(op: Any, argument: Any) -> Ranges:
    if op is sre.LITERAL:
        return ((argument, argument),)
    if op is sre.NOT_LITERAL:
        return _minus(UNIVERSE, ((argument, argument),))
    if op is sre.ANY:
        return _minus(UNIVERSE, ((0xA, 0xA), (0xD, 0xD), (0x2028, 0x2029)))
    if op is sre.IN:
        return _class(argument)
    raise PatternUnsupported(_REASONS.get(op, f"{str(op).lower()} cannot be enforced"))


_REASONS = {
    sre.ASSERT: "look-around cannot be enforced; describe the text itself",
    sre.ASSERT_NOT: "look-around cannot be enforced; describe the text itself",
    sre.GROUPREF: "back-references cannot be enforced; use an enum or two fields",
    sre.GROUPREF_EXISTS: "conditional groups cannot be enforced; use alternatives",
    sre.AT: "anchors and word boundaries can stand only at the ends of the pattern",
    sre.POSSESSIVE_REPEAT: "possessive repeats cannot be enforced; use plain ones",
    sre.ATOMIC_GROUP: "atomic groups cannot be enforced; use plain ones",
}
_CATEGORIES: dict[Any, Ranges] = {
    sre.CATEGORY_DIGIT: _DIGITS,
    sre.CATEGORY_WORD: _WORD,
    sre.CATEGORY_SPACE: _SPACE,
}
_NOT_CATEGORIES: dict[Any, Ranges] = {
    sre.CATEGORY_NOT_DIGIT: _DIGITS,
    sre.CATEGORY_NOT_WORD: _WORD,
    sre.CATEGORY_NOT_SPACE: _SPACE,
}


def _class(items: list[Any]) -> Ranges:
    """Return a bracket class; one that negates a category keeps to ASCII, where all engines agree."""
    ranges: list[tuple[int, int]] = []
    negated = items[0][0] is sre.NEGATE
    categories = False
    for op, argument in items[negated:]:
        if op is sre.CATEGORY:
            categories = True
            known = _CATEGORIES.get(argument)
            ranges += known if known is not None else _minus(_ASCII, _NOT_CATEGORIES[argument])
        else:
            ranges.append((argument, argument) if op is sre.LITERAL else argument)
    if not negated:
        return tuple(ranges)
    return _minus(_ASCII if categories else UNIVERSE, tuple(ranges))


def _chars(ranges: Ranges) -> Chars:
    kept = _merge(_minus(UNIVERSE, _minus(((0, 0x10FFFF),), ranges)))
    if not kept:
        raise PatternUnsupported("asks for a control character, which decoded strings never hold")
    return Chars(kept)


def _minus(ranges: Ranges, holes: Ranges) -> Ranges:
    kept = list(ranges)
    for low, high in holes:
        kept = [
            piece for a, b in kept for piece in ((a, min(b, low - 1)), (max(a, high + 1), b)) if piece[0] <= piece[1]
        ]
    return tuple(kept)


def _merge(ranges: Ranges) -> Ranges:
    merged: list[tuple[int, int]] = []
    for low, high in sorted(ranges):
        if merged and low <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(high, merged[-1][1]))
        else:
            merged.append((low, high))
    return tuple(merged)


def _render(node: Node, render_class: Callable[[Ranges], str]) -> str:
    match node:
        case Chars(ranges):
            return render_class(ranges)
        case Sequence(parts):
            return "".join(_render(part, render_class) for part in parts)
        case Branch(options):
            return f"(?:{'|'.join(_render(option, render_class) for option in options)})"
        case Repeat(part, least, most):
            return f"(?:{_render(part, render_class)}){_count(least, most)}"


def _count(least: int, most: int | None) -> str:
    short = {(0, None): "*", (1, None): "+", (0, 1): "?"}
    return short.get((least, most)) or f"{{{least},{'' if most is None else most}}}"


def _plain_class(ranges: Ranges) -> str:
    if len(ranges) == 1 and ranges[0][0] == ranges[0][1]:
        return _escape(ranges[0][0])
    return f"[{''.join(_range(low, high) for low, high in ranges)}]"


def _json_class(ranges: Ranges) -> str:
    """Return a class over JSON text: characters that JSON escapes stand beside the plain ones."""
    plain = _minus(ranges, tuple((code, code) for code in _ESCAPED))
    escaped = [text for code, text in _ESCAPED.items() if any(low <= code <= high for low, high in ranges)]
    options = ([_plain_class(plain)] if plain else []) + escaped
    return options[0] if len(options) == 1 else f"(?:{'|'.join(options)})"


def _range(low: int, high: int) -> str:
    return _escape(low) if low == high else f"{_escape(low)}-{_escape(high)}"


def _escape(code: int) -> str:
    character = chr(code)
    if code > 0x7E or (character.isascii() and character.isalnum()):
        return character
    return f"\\x{code:02x}"
