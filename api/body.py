"""Bodies within bounds: read at once, up to a size and within a time, and refused unless they are plain JSON.

Two readers of one text must not see two things, so what JSON leaves open is refused: repeated keys, numbers that are
none, surrogates without their half. Depth is bounded before anything is parsed.
"""

import asyncio
import json
import math
import re
from collections.abc import Iterable
from typing import Any

from starlette.types import Message, Receive, Scope

from ..errors import BodyInvalid, BodyTooLarge, BodyTooSlow, MediaTypeUnsupported

MAX_BYTES = 1 << 20
"""Largest body."""

MAX_DEPTH = 64
"""Deepest nesting of objects and arrays in a body."""

BODY_S = 10.0
"""Seconds within which a body must have arrived."""

_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)', re.DOTALL)
"""A JSON string, or the rest of the text when it has no end: so looking for strings takes linear time."""

_NOT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
_HUGE = re.compile(rb"[eE]\+?[0-9]{3}|[0-9]{309}")
_JSON_TYPE = re.compile(rb"application/(?:[\w.+-]+\+)?json\s*(?:;.*)?", re.IGNORECASE | re.DOTALL)


async def bounded(scope: Scope, receive: Receive) -> Receive:
    """Read and check the body of a request; return a `receive` that hands the whole of it over.

    Raises:
        BodyTooLarge, BodyTooSlow: It has too many bytes, or they came too slowly.
        MediaTypeUnsupported: It is compressed, or not declared as JSON.
        BodyInvalid: It is not JSON as we take it.
    """
    headers = dict(scope["headers"])
    if b"content-length" not in headers and b"transfer-encoding" not in headers:
        return receive
    _check_declared(headers)
    body = await _read(receive)
    if body:
        _check_type(headers)
        checked_json(body)
    return _replay(body, receive)


def checked_json(body: bytes) -> Any:
    """Return the value in a body.

    Raises:
        BodyInvalid: It is not one JSON value in UTF-8, is nested too deep, repeats a key, or holds a number or a
            character that cannot be handed on.
    """
    if body.count(b"[") + body.count(b"{") > MAX_DEPTH:
        _check_depth(body)
    try:
        value = _DECODER.decode(body.decode())
    except UnicodeDecodeError as exc:
        raise BodyInvalid(f"byte {exc.start} is not UTF-8") from None
    except json.JSONDecodeError as exc:
        raise BodyInvalid(f"{exc.msg} at character {exc.pos}") from None
    except ValueError as exc:  # a whole number beyond what Python converts
        raise BodyInvalid("a number has too many digits") from exc
    if _SURROGATE.search(body):
        _check_text(value)
    if _HUGE.search(body):
        _check_numbers(value)
    return value


def _check_declared(headers: dict[bytes, bytes]) -> None:
    encoding = headers.get(b"content-encoding", b"identity")
    if encoding.strip().lower() != b"identity":
        raise MediaTypeUnsupported("bodies are taken uncompressed only")
    length = headers.get(b"content-length", b"")
    if length.isdigit() and int(length[:20]) > MAX_BYTES:
        raise BodyTooLarge(f"{int(length[:20]):,} bytes; at most {MAX_BYTES:,} are taken")


def _check_type(headers: dict[bytes, bytes]) -> None:
    given = headers.get(b"content-type", b"")
    if not _JSON_TYPE.fullmatch(given.strip()):
        shown = given[:100].decode("latin-1") or "nothing"
        raise MediaTypeUnsupported(f"the body must be application/json, the request declares {shown!r}")


async def _read(receive: Receive) -> bytes:
    parts: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(BODY_S):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise BodyInvalid("the client left before its end")
                part = message.get("body", b"")
                size += len(part)
                if size > MAX_BYTES:
                    raise BodyTooLarge(f"more than {MAX_BYTES:,} bytes")
                parts.append(part)
                if not message.get("more_body", False):
                    return b"".join(parts)
    except TimeoutError:
        raise BodyTooSlow(f"{size:,} bytes came within {BODY_S:g} s") from None


def _replay(body: bytes, receive: Receive) -> Receive:
    """Return a `receive` that yields the whole body first, then whatever the server has to say."""
    first: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return first.pop() if first else await receive()

    return replay


def _check_depth(body: bytes) -> None:
    depth = 0
    for bracket in _STRING.sub(b"", body).translate(None, _NOT_BRACKETS):
        depth += 1 if bracket in b"[{" else -1
        if depth > MAX_DEPTH:
            raise BodyInvalid(f"it is nested more than {MAX_DEPTH} levels deep")


def _check_text(value: Any) -> None:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise BodyInvalid("a text holds half of a surrogate pair") from None


def _check_numbers(value: Any) -> None:
    todo = [value]
    while todo:
        each = todo.pop()
        if isinstance(each, dict):
            todo.extend(each.values())
        elif isinstance(each, list):
            todo.extend(each)
        elif isinstance(each, float) and not math.isfinite(each):
            raise BodyInvalid("a number is out of range")


def _without_repeats(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    listed = list(pairs)
    value = dict(listed)
    if len(value) != len(listed):
        seen: set[str] = set()
        repeated = next(key for key, _ in listed if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise BodyInvalid(f"an object repeats the key {repeated[:60]!r}")
    return value


def _no_constant(name: str) -> Any:
    raise BodyInvalid(f"{name} is no JSON number")


_DECODER = json.JSONDecoder(object_pairs_hook=_without_repeats, parse_constant=_no_constant)
