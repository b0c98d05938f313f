"""Turn what a tool returned into the text that the model reads."""

from collections.abc import AsyncIterable, Awaitable, Coroutine, Iterator
from enum import Enum
from typing import Any

from pydantic_core import PydanticSerializationError, from_json, to_json

from ..errors import ResultInvalid

MAX_BYTES = 8 * 1024 * 1024
"""Most bytes of one result; it is stored as an artifact and read back in pages."""

DONE = "done"
"""What the model reads when a tool returns `None`."""


_PLAIN = frozenset({bool, int, float})
"""Types that are JSON as they are; asking abstract base classes about them costs more than writing them."""


def render_result(tool: str, value: Any) -> str:
    """Return a result as text: text as it is, `None` as `done`, anything else as compact JSON.

    NaN and infinities become the strings `"NaN"` and `"Infinity"`; a value whose JSON is one string, such as a
    date, loses its quotes.

    Raises:
        ResultInvalid: The value is not JSON, or longer than 8 MiB.
    """
    if value is None:
        return DONE
    if type(value) in _PLAIN:
        text = _json(tool, value).decode()
        return text.strip('"')  # NaN and infinities come as strings
    if isinstance(value, str) and not isinstance(value, Enum):
        return _text(tool, value)
    if isinstance(value, bytes | bytearray | memoryview):
        return _decoded(tool, value)
    if isinstance(value, Iterator | Awaitable | AsyncIterable):
        if isinstance(value, Coroutine):
            value.close()  # else Python warns that nobody awaited it
        raise ResultInvalid(tool, f"a {type(value).__name__} is not a result; return the whole value")
    data = _json(tool, value)
    _check_size(tool, len(data))
    return from_json(data) if data.startswith(b'"') else data.decode()


def _text(tool: str, text: str) -> str:
    if len(text) <= MAX_BYTES and text.isascii():
        return text if type(text) is str else str.__str__(text)
    _check_size(tool, len(text))
    data = text.encode(errors="replace")
    _check_size(tool, len(data))
    return data.decode()


def _decoded(tool: str, value: bytes | bytearray | memoryview) -> str:
    _check_size(tool, len(value))
    try:
        return bytes(value).decode()
    except UnicodeDecodeError:
        raise ResultInvalid(tool, "bytes that are not UTF-8 text") from None


def _json(tool: str, value: Any) -> bytes:
    try:
        return to_json(value, inf_nan_mode="strings")
    except PydanticSerializationError as exc:
        known = str(exc).startswith("Unable to serialize unknown type")
        problem = str(exc) if known else "its serializer failed"
    except (ValueError, RecursionError):
        problem = "it is cyclic, nested too deeply, or holds a value that is not JSON"
    except Exception as exc:  # a type's own hooks may raise anything
        problem = f"its serializer failed ({type(exc).__name__})"
    raise ResultInvalid(tool, f"a {type(value).__name__} is not JSON: {problem}")


def _check_size(tool: str, size: int) -> None:
    if size > MAX_BYTES:
        raise ResultInvalid(tool, f"{size:,} bytes; at most {MAX_BYTES:,} are accepted")
