"""Turn what a model server or the HTTP client reports into Loopwright's endpoint errors."""

import json
import re
import time
from email.utils import parsedate_to_datetime
from typing import Any

import httpx2

from ..errors import ContextTooLong, EndpointError, EndpointRefused, EndpointTimedOut, EndpointUnavailable

PROBLEM_CHARS = 400
"""Most characters of a server's own words that an error repeats."""

_TOO_LONG = re.compile(
    r"context.{0,8}(length|window|size)|maximum model length|longer than the (maximum|model)|prompt is too long"
    r"|exceed_context_size|input is too long",
    re.IGNORECASE,
)
_RETRIED_STATUSES = frozenset({408, 425, 429})

_BY_CLASS: tuple[tuple[type[Exception], type[EndpointError]], ...] = (
    (httpx2.ConnectTimeout, EndpointUnavailable),
    (httpx2.PoolTimeout, EndpointUnavailable),
    (httpx2.TimeoutException, EndpointTimedOut),
    (httpx2.UnsupportedProtocol, EndpointRefused),
    (httpx2.LocalProtocolError, EndpointRefused),
    (httpx2.TooManyRedirects, EndpointRefused),
    (httpx2.InvalidURL, EndpointRefused),
    (httpx2.CookieConflict, EndpointRefused),
    (httpx2.HTTPError, EndpointUnavailable),
    (httpx2.StreamError, EndpointUnavailable),
    (OSError, EndpointUnavailable),
)
"""The first class that matches decides; the last three are the roots that catch all the rest."""

CLIENT_ERRORS: tuple[type[Exception], ...] = tuple(known for known, _ in _BY_CLASS)
"""What the HTTP client may raise."""


def from_exception(endpoint: str, error: Exception) -> EndpointError:
    """Return our error for one that the HTTP client raised."""
    if isinstance(error, httpx2.HTTPStatusError):
        return from_status(endpoint, error.response.status_code, str(error))
    problem = f"{type(error).__name__}: {error}".removesuffix(": ")[:PROBLEM_CHARS]
    kind = next(ours for known, ours in _BY_CLASS if isinstance(error, known))
    return EndpointRefused(endpoint, problem, status=0) if kind is EndpointRefused else kind(endpoint, problem)


def from_status(endpoint: str, status: int, body: str | bytes, retry_after: str | None = None) -> EndpointError:
    """Return our error for an HTTP status.

    Args:
        endpoint: Name for the message.
        status: HTTP status, or the `code` of an error that came in the middle of a stream.
        body: The error page; OpenAI's `{"error": {"message": ...}}` and plain text are understood.
        retry_after: The header of that name.
    """
    problem, code = _explain(body)
    problem = f"HTTP {status}: {problem}" if problem else f"HTTP {status}"
    if status >= 500 or status in _RETRIED_STATUSES:
        return EndpointUnavailable(endpoint, problem, retry_after_s=parse_retry_after(retry_after))
    if status == 413 or (status in (400, 422) and _TOO_LONG.search(f"{code} {problem}")):
        return ContextTooLong(endpoint, problem, status=status)
    return EndpointRefused(endpoint, problem, status=status)


def from_event(endpoint: str, error: Any) -> EndpointError:
    """Return our error for an `{"error": ...}` event inside a stream."""
    code = error.get("code") if isinstance(error, dict) else None
    status = code if isinstance(code, int) and 400 <= code < 600 else 500
    return from_status(endpoint, status, json.dumps({"error": error}))


def parse_retry_after(value: str | None, *, now_s: float | None = None) -> float | None:
    """Return the seconds that a `Retry-After` header asks to wait: a number or a date (RFC 9110, section 10.2.3)."""
    if not value:
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - (time.time() if now_s is None else now_s))
    except ValueError:
        return None


def _explain(body: str | bytes) -> tuple[str, str]:
    """Return the server's message on one line, and its error code or type."""
    text = body.decode(errors="replace") if isinstance(body, bytes) else body
    code = ""
    try:
        value = json.loads(text)
        value = value.get("error", value)
        if isinstance(value, dict):
            code = f"{value.get('code') or ''} {value.get('type') or ''}".strip()
            text = str(value.get("message") or value.get("detail") or value)
        else:
            text = str(value)
    except (ValueError, AttributeError):
        pass
    return " ".join(text.split())[:PROBLEM_CHARS], code
