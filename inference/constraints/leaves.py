"""Regular expressions over JSON text for shapes, and how long a shape's text can get."""

from functools import lru_cache

from .formats import format_lengths, format_node
from .patterns import Node, json_regex, lengths, parse_pattern
from .ranges import decimal_regex, integer_regex
from .shapes import Either, Fixed, Integer, Items, Literals, Record, Shape, Table, Text

CHARACTER = r'(?:[^"\\\x00-\x1f\x7f-\x9f]|\\["\\nrt])'
"""One character of a decoded string as JSON text. No `\\u` escapes: half of them would not be characters."""


def escape(text: str) -> str:
    """Return a regular expression for exactly this text, in a spelling that all engines read."""
    return "".join(c if (c.isascii() and c.isalnum()) or c > "\x7e" else f"\\x{ord(c):02x}" for c in text)


@lru_cache(maxsize=1024)
def value_regex(shape: Shape) -> str | None:
    """Return a regular expression for the JSON texts of a value, or `None` when it takes a grammar.

    Objects and arrays are left to grammars and to the walk; so are patterns that must be cut to a length,
    and multiples of numbers other than powers of ten.
    """
    match shape:
        case Literals(texts):
            return f"(?:{'|'.join(map(escape, texts))})"
        case Integer(low, high, step):
            return _integers(low, high, step)
        case Fixed(low, high, places):
            return decimal_regex(low, high, places)
        case Text():
            inside = text_regex(shape)
            return None if inside is None else f'"{inside}"'
        case Either(options):
            parts = [value_regex(option) for option in options]
            return None if None in parts else f"(?:{'|'.join(part for part in parts if part)})"
        case _:
            return None


def text_regex(text: Text) -> str | None:
    """Return a regular expression for what stands between a string's quotes, or `None`; see `value_regex`."""
    node = text_node(text)
    if node is None:
        return f"{CHARACTER}{{{text.least},{text.most}}}"
    possible = format_lengths(text.format) if text.format else lengths(node, text.most + 1)
    if possible >> (text.most + 1) or possible & ((1 << text.least) - 1):
        return None
    return json_regex(node)


def text_node(text: Text) -> Node | None:
    """Return the parsed pattern or format of a string, or `None` when any characters will do."""
    if text.pattern is not None:
        return parse_pattern(text.pattern)
    return format_node(text.format) if text.format is not None else None


def longest(shape: Shape, wide: int = 1) -> int:
    """Return the most characters that a value's JSON text can have.

    Args:
        shape: The value.
        wide: What a free character counts as, at least 2 being an escape: 4 gives bytes of UTF-8.
    """
    match shape:
        case Literals(texts):
            return max(len(text.encode()) if wide > 2 else len(text) for text in texts)
        case Integer(low, high):
            return max(len(str(low)), len(str(high)))
        case Fixed(low, high, places):
            return max(len(str(int(low))), len(str(int(high)))) + 1 + places + (low < 0)
        case Text(_, most):
            return 2 + most * max(wide, 2)
        case Record(fields):
            inner = sum(longest(field.shape, wide) + len(field.key_text.encode()) + 1 for field in fields)
            return 2 + inner
        case Table(key, value, _, most):
            return 2 + most * (longest(key, wide) + 2 + longest(value, wide))
        case Items(head, rest, _, most):
            first = sum(longest(item, wide) + 1 for item in head[:most])
            later = max(0, most - len(head)) * (longest(rest, wide) + 1) if rest is not None else 0
            return 2 + first + later
        case Either(options):
            return max(longest(option, wide) for option in options)


def _integers(low: int, high: int, step: int) -> str | None:
    zeros = len(str(step)) - 1
    if step == 1:
        return integer_regex(low, high)
    if step != 10**zeros:
        return None
    first, last = -(-low // step), high // step
    options = ["0"] * (first <= 0 <= last)
    options += [integer_regex(first, min(last, -1)) + "0" * zeros] * (first < 0)
    options += [integer_regex(max(first, 1), last) + "0" * zeros] * (last > 0)
    return f"(?:{'|'.join(options)})"
