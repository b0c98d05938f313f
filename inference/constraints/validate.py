"""Full JSON Schema validation (draft 2020-12) for schemas that have no pydantic model behind them.

The `jsonschema` library does the work, with two corrections: `multipleOf` is decided on decimals as written, not on
binary remainders (0.29 is a multiple of 0.01), and references never leave the schema, so nothing is fetched.
"""

import ipaddress
import json
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import date, datetime, time
from decimal import Decimal
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from uuid import UUID

if TYPE_CHECKING:
    from jsonschema.protocols import Validator  # type: ignore[import-untyped]

MAX_PROBLEMS = 5
MAX_PROBLEM_CHARS = 200

Problems = Callable[[Any], list[str]]


def validator(schema: Mapping[str, Any]) -> Problems:
    """Return a function that lists what is wrong with a value, empty when nothing is.

    The function takes a JSON text (`str` or `bytes`) or any other JSON value; a value that is itself a string
    is passed as its JSON text. Each problem reads `place: what is wrong`, at most `MAX_PROBLEMS` of them.
    """
    return _validator(json.dumps(schema, ensure_ascii=False))


@lru_cache(maxsize=1024)
def _validator(schema: str) -> Problems:
    checker = _library(json.loads(schema))

    def problems(value: Any) -> list[str]:
        if isinstance(value, str | bytes):
            try:
                value = json.loads(value)
            except ValueError as exc:
                return [f"$: not JSON: {exc}"]
        found = []
        for error in checker.iter_errors(value):
            message = error.message
            short = message if len(message) <= MAX_PROBLEM_CHARS else f"{message[:MAX_PROBLEM_CHARS]}..."
            found.append(f"{error.json_path}: {short}")
            if len(found) == MAX_PROBLEMS:
                break
        return found

    return problems


def _library(schema: Any) -> "Validator":
    """Return the library's validator: the schema's own references only, formats checked."""
    from jsonschema import Draft202012Validator, FormatChecker  # type: ignore[import-untyped]
    from jsonschema.validators import extend  # type: ignore[import-untyped]
    from referencing import Registry

    formats = FormatChecker(formats=())
    for name, accepts in _FORMATS.items():
        formats.checks(name, raises=ValueError)(_on_strings(accepts))
    kind = extend(Draft202012Validator, {"multipleOf": _multiple_of})
    validator: Validator = kind(schema, format_checker=formats, registry=Registry())
    return validator


def _multiple_of(_: Any, step: Any, value: Any, __: Any) -> Iterator[Any]:
    from jsonschema import ValidationError

    if isinstance(value, bool) or not isinstance(value, int | float):
        return
    if Decimal(repr(value)) % Decimal(repr(step)) != 0:
        yield ValidationError(f"{value!r} is not a multiple of {step!r}")


def _on_strings(accepts: Callable[[str], Any]) -> Callable[[object], bool]:
    return lambda value: not isinstance(value, str) or accepts(value) is not False


def _instant(text: str) -> bool:
    return text[10:11] in "Tt" and datetime.fromisoformat(text).tzinfo is not None


def _clock(text: str) -> bool:
    return time.fromisoformat(text).tzinfo is not None


def _link(text: str) -> bool:
    return bool(urlsplit(text).scheme) and " " not in text


_DURATION = re.compile(r"P(?!$)(?:\d+W|(?:\d+Y)?(?:\d+M)?(?:\d+D)?(?:T(?=\d)(?:\d+H)?(?:\d+M)?(?:\d+(?:\.\d+)?S)?)?)")
_FORMATS: dict[str, Callable[[str], Any]] = {
    "date": date.fromisoformat,
    "time": _clock,
    "date-time": _instant,
    "duration": lambda text: _DURATION.fullmatch(text) is not None,
    "uuid": UUID,
    "email": lambda text: text.count("@") == 1 and not text.startswith("@") and not text.endswith("@"),
    "ipv4": ipaddress.IPv4Address,
    "ipv6": ipaddress.IPv6Address,
    "uri": _link,
}
