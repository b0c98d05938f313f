"""Strict reading of JSON text as a Python type: the last gate before a tool, whatever the engine promised."""

import json
import math
import re
from typing import Any

from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails, from_json

MAX_BYTES = 256 * 1024
"""Most bytes of one JSON text; the arguments of a call are journaled, so they must stay small."""

MAX_PROBLEMS = 5
"""Problems listed of one text; a model corrects a few at a time."""

SHOWN_CHARS = 60
"""Characters of a wrong value that a problem repeats."""

_EXPONENT = re.compile(r"[eE]\+?[0-9]{3}")
_DIGITS = re.compile(r"[0-9]{309}")
"""What JSON numbers too large for a float contain; a hit inside a string costs a second look, no more."""


class InvalidJson(ValueError):
    """The text is not JSON or not of the type. The message lists each place, what it expects and what it got."""


class StrictJson:
    """Reads JSON text as one type, without any coercion.

    Args:
        adapter: The type.
        max_bytes: Longest text that is read at all.
    """

    __slots__ = ("_max_bytes", "_validate")

    def __init__(self, adapter: TypeAdapter[Any], max_bytes: int = MAX_BYTES) -> None:
        self._validate = adapter.validator.validate_json
        self._max_bytes = max_bytes

    def parse(self, text: str) -> Any:
        """Return the value.

        Raises:
            InvalidJson: The text is not JSON, too large, or not of the type.
        """
        if len(text) * 4 > self._max_bytes:
            self._check_size(text)
        if "NaN" in text or "Infinity" in text or _EXPONENT.search(text) or (len(text) > 308 and _DIGITS.search(text)):
            _check_numbers(text)
        try:
            return self._validate(text, strict=True)
        except ValidationError as exc:
            raise InvalidJson(describe(exc)) from None

    def _check_size(self, text: str) -> None:
        size = len(text) if text.isascii() else len(text.encode(errors="replace"))
        if size > self._max_bytes:
            raise InvalidJson(f"{size:,} bytes of JSON; at most {self._max_bytes:,} are accepted")


def describe(error: ValidationError) -> str:
    """Return the problems of a validation as `place: what is expected, got what`, joined by semicolons."""
    found = error.errors(include_url=False, include_context=False)
    listed = [_describe_one(each) for each in found[:MAX_PROBLEMS]]
    if len(found) > MAX_PROBLEMS:
        listed.append(f"and {len(found) - MAX_PROBLEMS} more")
    return "; ".join(listed)


def place(path: tuple[int | str, ...]) -> str:
    """Return a path inside a value as text, such as `legs[0].city`."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).lstrip(".")


def _describe_one(error: ErrorDetails) -> str:
    where = place(error["loc"])
    lead = f"{where}: " if where else ""
    kind = error["type"]
    if kind == "missing":
        return f"{lead}is missing"
    if kind == "extra_forbidden":
        return f"{lead}is not a known key"
    message = error["msg"].replace("Input should be", "should be").replace("Invalid JSON", "not JSON")
    return f"{lead}{message}" if kind == "json_invalid" else f"{lead}{message}, got {_shown(error['input'])}"


def _shown(value: Any) -> str:
    try:
        text = json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError):
        text = type(value).__name__
    return text if len(text) <= SHOWN_CHARS else f"{text[:SHOWN_CHARS]}..."


def _check_numbers(text: str) -> None:
    """Refuse NaN, infinities and numbers that a float cannot hold, wherever they stand."""
    try:
        value = from_json(text, allow_inf_nan=False)
    except ValueError as exc:
        raise InvalidJson(f"not JSON: {exc}") from None
    todo = [value]
    while todo:
        each = todo.pop()
        if isinstance(each, dict):
            todo.extend(each.values())
        elif isinstance(each, list):
            todo.extend(each)
        elif isinstance(each, float) and not math.isfinite(each):
            raise InvalidJson("a number is out of range")
