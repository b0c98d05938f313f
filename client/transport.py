"""The HTTP connection of a client: addresses, keys, time limits, and what an exception of httpx2 means."""

import os
from typing import Any

import httpx2

from ..errors import SettingsInvalid
from .call import Call, Lost, Reply, encode

DEFAULT_URL = "http://127.0.0.1:8300"
URL_VARIABLE = "LOOPWRIGHT_URL"
KEY_VARIABLE = "LOOPWRIGHT_KEY"  # the name of a variable, no key

CONNECT_S = 5.0
LOST = httpx2.TransportError, httpx2.DecodingError
"""What httpx2 raises when no answer came, or none that can be read."""

_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


class Address:
    """Where a server is, and the key that is shown to it. The key appears in no repr, error or log.

    Args:
        url: Base URL without `/v1`; `None`: LOOPWRIGHT_URL, else this host.
        key: API key; `None`: LOOPWRIGHT_KEY, else none.
        timeout_s: Longest wait for an answer, besides the time for which the server was asked to hold it back.

    Raises:
        SettingsInvalid: The URL cannot be used, or the key cannot be sent.
    """

    def __init__(self, url: str | None, key: str | None, timeout_s: float) -> None:
        self.url = _checked(url or os.environ.get(URL_VARIABLE) or DEFAULT_URL)
        self._key = key if key is not None else os.environ.get(KEY_VARIABLE) or None
        if self._key is not None and not (self._key.isascii() and self._key.isprintable() and " " not in self._key):
            raise SettingsInvalid(KEY_VARIABLE, "is no key: blanks and characters beyond ASCII cannot be sent")
        self._timeout_s = timeout_s

    def __repr__(self) -> str:
        return f"{str(self.url)!r}, key={'***' if self._key else None}"

    def options(self) -> dict[str, Any]:
        """Return what both kinds of httpx2 clients are made with. A proxy is never asked for this host itself."""
        limits = httpx2.Limits(max_connections=None, max_keepalive_connections=64)
        return {"limits": limits, "trust_env": self.url.host not in _LOOPBACK, "follow_redirects": False}

    def request(
        self, call: Call[Any], headers: dict[str, str] | None = None, *, silence_s: float = 0.0
    ) -> httpx2.Request:
        """Return a call as a request.

        Args:
            call: The call.
            headers: More headers, which win.
            silence_s: Longest time between two pieces of the answer; 0: as for every answer.

        Raises:
            TaskInvalid: The body is no JSON.
        """
        sent = call.headers | (headers or {})
        if self._key:
            sent["authorization"] = f"Bearer {self._key}"
        read_s = silence_s or self._timeout_s + call.wait_s
        return httpx2.Request(
            call.method,
            self.url.copy_with(raw_path=self._path(call)),
            headers=sent,
            content=None if call.body is None else encode(call.body),
            extensions={"timeout": {"connect": CONNECT_S, "read": read_s, "write": self._timeout_s, "pool": None}},
        )

    def lost(self, error: Exception) -> Lost:
        """Return what an exception of httpx2 says about an answer."""
        where = f"{self.url.host}:{self.url.port}" if self.url.port else self.url.host
        what = (
            "cannot be reached" if isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout) else "gave no answer"
        )
        told = " ".join(str(error).split()) or type(error).__name__
        return Lost(f"the server at {where} {what}: {told}")

    def _path(self, call: Call[Any]) -> bytes:
        query = str(httpx2.QueryParams(call.parameters))
        path = self.url.raw_path.rstrip(b"/") + call.path.encode()
        return path + (b"?" + query.encode() if query else b"")


def reply_of(response: httpx2.Response) -> Reply:
    """Return an answer whose body was read."""
    return Reply(
        response.status_code, {name.lower(): value for name, value in response.headers.items()}, response.content
    )


def _checked(given: str) -> httpx2.URL:
    try:
        url = httpx2.URL(given.strip().rstrip("/").removesuffix("/v1"))
    except (httpx2.InvalidURL, TypeError) as error:
        raise SettingsInvalid(URL_VARIABLE, f"is not a URL ({type(error).__name__})") from error
    if url.scheme not in ("http", "https") or not url.host:
        raise SettingsInvalid(URL_VARIABLE, "must look like http://host:port")
    if url.userinfo:
        raise SettingsInvalid(URL_VARIABLE, "must not hold credentials; give them as the key")
    return url
