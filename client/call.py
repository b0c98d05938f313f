"""What a client wants, as values: calls of the API, pauses, and flows that are made of them.

A flow is a generator that yields steps and is sent their outcomes. It holds every rule of the client, and knows neither
threads nor event loops: a blocking driver and an asynchronous one carry the same flows out (the idea of httpx's
authentication flows).
"""

import json
import secrets
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Generic, TypeVar

from ..errors import TaskInvalid

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer as it came: status, headers with lower-case names, body."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Lost:
    """No answer came; whether the request was carried out is not known."""

    problem: str


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """One call of the API. Nearly all can be sent twice: they read, state a wish, or carry a key of their own.

    Attributes:
        method: HTTP method.
        path: Path below the server's URL, escaped.
        read: Turns the body of a good answer into what the caller gets.
        query: Parameters; those that are `None` are left out.
        body: JSON value to send; `None`: no body.
        key: Idempotency key; empty: none.
        wait_s: Whole seconds for which the server may hold the answer back until a run has ended.
        patience_s: Bound of how long to go on trying, for a caller who has less time than the client; `None`: none.
        is_once: Whether sending it twice would do more than sending it once, so that a lost answer is an error.
    """

    method: str
    path: str
    read: Callable[[bytes], T]
    query: Mapping[str, Any] = field(default_factory=dict)
    body: Any = None
    key: str = ""
    wait_s: int = 0
    patience_s: float | None = None
    is_once: bool = False

    @property
    def headers(self) -> dict[str, str]:
        """The headers that belong to the call itself."""
        headers = {"accept": "application/json, application/problem+json"}
        if self.body is not None:
            headers["content-type"] = "application/json"
        if self.key:
            headers["idempotency-key"] = self.key
        if self.wait_s:
            headers["prefer"] = f"wait={self.wait_s}"
        return headers

    @property
    def parameters(self) -> dict[str, str]:
        """The query as text."""
        return {name: text_of(value) for name, value in self.query.items() if value is not None}


@dataclass(frozen=True, slots=True)
class Pause:
    """A wait, in seconds."""

    seconds: float


Flow = Generator[Call[Any] | Pause, Any, T]
"""Yields calls and pauses; is sent what a call returned, or thrown the error that it raised."""


def new_key() -> str:
    """Return an idempotency key that nobody used before."""
    return secrets.token_hex(16)


def text_of(value: Any) -> str:
    """Return a query parameter as the API reads it."""
    if isinstance(value, bool):
        return str(value).lower()
    return value.isoformat() if isinstance(value, datetime) else str(value)


def encode(value: Any) -> bytes:
    """Return a body as JSON. Moments become RFC 3339, our models their fields.

    Raises:
        TaskInvalid: The value is no JSON.
    """
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False, default=_plain).encode()
    except (TypeError, ValueError, RecursionError) as exc:
        raise TaskInvalid(f"it is no JSON value: {exc}") from exc


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    dump = getattr(value, "model_dump", None)
    if dump is None:
        raise TypeError(f"{type(value).__name__} cannot be sent")
    return dump(mode="json", exclude_unset=True)
