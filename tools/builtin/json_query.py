"""Pick values out of a JSON document; the path language stands in `json_path.py`."""

import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any, NoReturn

from ...errors import ToolError
from ..decorator import tool
from .json_path import describe, is_number, parse_path, walk
from .numerals import WIDE, write_decimal

MAX_DOCUMENT = 1_000_000
MAX_QUERY = 500
MAX_DIGITS = 300
MAX_MATCHES = 1_000
MAX_RESULT = 100_000


@tool(effect="read", timeout_s=10, max_result_tokens=2_000)
def query_json(document: str, query: str) -> str:
    """Pick values out of a JSON document.

    Args:
        document: The JSON text.
        query: For example `store.books[0].title`, `books[*].price | sum` or `books[?price>10].title`.
    """
    if len(query) > MAX_QUERY:
        raise ToolError(f"the query has {len(query):,} characters; at most {MAX_QUERY} are accepted")
    path, function = _split(query)
    try:
        result = walk(_read(document), parse_path(path))
        return _write(_FUNCTIONS[function](result) if function else result)
    except RecursionError:
        raise ToolError("the document is nested too deeply") from None


def _split(query: str) -> tuple[str, str]:
    """Return the path and the function behind the last `|`, if any; a bar inside brackets belongs to the path."""
    path, bar, function = query.rpartition("|")
    if not bar or "]" in function:
        return query.strip(), ""
    if function.strip() not in _FUNCTIONS:
        raise ToolError(f"unknown function {function.strip()[:30]!r}; accepted are {', '.join(sorted(_FUNCTIONS))}")
    return path.strip(), function.strip()


def _read(document: str) -> Any:
    if len(document) > MAX_DOCUMENT:
        raise ToolError(f"the document has {len(document):,} characters; at most {MAX_DOCUMENT:,} are accepted")
    try:
        return json.loads(document, parse_constant=_refuse_constant, parse_float=_read_float, parse_int=_read_int)
    except json.JSONDecodeError as exc:
        raise ToolError(f"the document is not JSON: {exc.msg} at line {exc.lineno}, column {exc.colno}") from None
    except ValueError as exc:
        raise ToolError(f"the document cannot be used: {exc}") from None


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON value")


def _read_float(text: str) -> float:
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise ValueError(f"the number {text[:20]} is too large")
    return value


def _read_int(text: str) -> int:
    if len(text) > MAX_DIGITS:
        raise ValueError(f"a number has more than {MAX_DIGITS} digits")
    return int(text)


def _count(value: Any) -> int:
    if isinstance(value, list | dict | str):
        return len(value)
    raise ToolError(f"count needs a list, an object or a text, but finds {describe(value)}")


def _keys(value: Any) -> list[str]:
    if isinstance(value, dict):
        return list(value)
    raise ToolError(f"keys needs an object, but finds {describe(value)}")


def _numbers(value: Any) -> list[Decimal]:
    if not isinstance(value, list) or not value or not all(is_number(item) for item in value):
        raise ToolError("sum, min and max need a list of numbers with at least one item")
    return [Decimal(repr(item)) for item in value]


def _sum(value: Any) -> Decimal:
    total = Decimal(0)
    for number in _numbers(value):
        total = WIDE.add(total, number)
    return total


_FUNCTIONS: dict[str, Callable[[Any], Any]] = {
    "count": _count,
    "keys": _keys,
    "max": lambda value: max(_numbers(value)),
    "min": lambda value: min(_numbers(value)),
    "sum": _sum,
}


def _write(result: Any) -> str:
    if isinstance(result, Decimal):
        return write_decimal(result, exact=True)
    if isinstance(result, list) and len(result) > MAX_MATCHES:
        raise ToolError(
            f"{len(result)} values match, at most {MAX_MATCHES} are returned; narrow the query or use count"
        )
    text = json.dumps(result, ensure_ascii=False, separators=(",", ":"))
    if len(text) > MAX_RESULT:
        raise ToolError(f"the result has {len(text)} characters, at most {MAX_RESULT} are returned; narrow the query")
    return text.encode("utf-8", "replace").decode()
