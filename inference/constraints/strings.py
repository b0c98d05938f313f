"""Bounds for strings: a greatest length, and patterns and formats in the reading that all engines share."""

from typing import Any

from .formats import FORMATS, FREE_FORMATS, MOST_CHARS, format_lengths
from .merging import Raw
from .patterns import PatternUnsupported, lengths, parse_pattern, value_regex
from .refusal import Unenforceable, child

DEFAULT_CHARS = 200
"""Greatest length of a string that has none of its own."""

MAX_CHARS = 1000
"""Longest string that is decoded, whatever the schema allows."""


def bounded_string(flat: Raw, path: str) -> dict[str, Any]:
    """Return a string with a greatest length; see the module."""
    least, given = flat.get("minLength", 0), flat.get("maxLength")
    for keyword in ("minLength", "maxLength"):
        if not isinstance(flat.get(keyword, 0), int) or flat.get(keyword, 0) < 0:
            raise Unenforceable(child(path, keyword), f"{keyword} is a whole number from 0")
    most = min(max(DEFAULT_CHARS, least) if given is None else given, MAX_CHARS)
    if least > (most if given is None else given):
        raise Unenforceable(child(path, "minLength"), f"no string has at least {least} and at most {given} characters")
    if least > MAX_CHARS:
        raise Unenforceable(child(path, "minLength"), f"strings of more than {MAX_CHARS} characters are not decoded")
    name = flat.get("format")
    if name is not None and name not in FORMATS and name not in FREE_FORMATS:
        raise Unenforceable(child(path, "format"), f"unknown format {name!r}; known: {', '.join(sorted(FORMATS))}")
    if name in FORMATS:
        return _formatted(flat, name, least, MOST_CHARS if given is None else given, path)
    if "pattern" in flat:
        return _patterned(flat["pattern"], least, most, path)
    return {"type": "string", **({"minLength": least} if least else {}), "maxLength": most}


def _formatted(flat: Raw, name: str, least: int, most: int, path: str) -> dict[str, Any]:
    if "pattern" in flat:
        raise Unenforceable(child(path, "pattern"), f"a pattern beside the format {name!r} cannot be enforced")
    possible = _within(format_lengths(name), least, most)
    if not possible:
        raise Unenforceable(child(path, "format"), f"no {name} has {least} to {most} characters")
    longest = possible.bit_length() - 1
    return {"type": "string", **({"minLength": least} if least else {}), "maxLength": longest, "format": name}


def _patterned(pattern: Any, least: int, most: int, path: str) -> dict[str, Any]:
    if not isinstance(pattern, str):
        raise Unenforceable(child(path, "pattern"), "a pattern is a string")
    try:
        node = parse_pattern(pattern)
    except PatternUnsupported as exc:
        raise Unenforceable(child(path, "pattern"), str(exc), optional=True) from exc
    possible = _within(lengths(node, most), least, most)
    if not possible:
        raise Unenforceable(child(path, "pattern"), f"matches no string of {least} to {most} characters")
    longest = possible.bit_length() - 1
    bound = {**({"minLength": least} if least else {}), "maxLength": longest}
    return {"type": "string", **bound, "pattern": f"^{value_regex(node)}$"}


def _within(possible: int, least: int, most: int) -> int:
    """Cut a bit set of lengths to a range."""
    return (possible >> least << least) & ((1 << (most + 1)) - 1)
