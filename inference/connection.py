"""The HTTP connection to one model server: requests out, open responses or endpoint errors back."""

import asyncio
import json
from typing import Any

import httpx2

from ..errors import EndpointError, EndpointTimedOut, EndpointUnavailable, Misuse, SettingsInvalid
from .faults import CLIENT_ERRORS, from_exception, from_status
from .spread import SpreadTransport, is_proxied

ERROR_PAGE_BYTES = 65_536
"""Most bytes of an error page that are read."""


class Connection:
    """Sends requests to one server, on one event loop.

    Args:
        base_url: Up to and including `/v1`, without credentials.
        name: Name of the endpoint for errors; the server's host and port when left out.
        api_key: Sent as a bearer token, and struck out of whatever the server says.
        connect_s: Longest wait for a connection.
        answer_s: Longest wait for the answer of an `exchange`.
        keep: Idle connections kept open.
        transport: Takes the place of the network in tests.
    """

    def __init__(
        self,
        base_url: str,
        name: str,
        *,
        api_key: str | None,
        connect_s: float,
        answer_s: float,
        keep: int,
        transport: httpx2.AsyncBaseTransport | None = None,
    ) -> None:
        self._url = checked_url(base_url)
        self._name = name
        self._api_key = api_key
        self._connect_s = connect_s
        self._answer_s = answer_s
        self._keep = keep
        self._transport = transport
        self._client: httpx2.AsyncClient | None = None
        self._is_closed = False

    def __repr__(self) -> str:
        return f"Connection({self.url!r})"

    @property
    def url(self) -> str:
        """The base URL."""
        return str(self._url)

    async def aclose(self) -> None:
        """Close all connections for good."""
        self._is_closed = True
        if self._client is not None:
            await self._client.aclose()

    @property
    def api_key(self) -> str | None:
        """The key, for other clients of the same server. Not for logs."""
        return self._api_key

    def without_key(self, text: str) -> str:
        """Return a server's words without the key; some servers repeat it."""
        return text.replace(self._api_key, "***") if self._api_key else text

    def strike_key(self, error: EndpointError) -> EndpointError:
        """Take the key out of an error, in place."""
        error.problem = self.without_key(error.problem)
        return error

    async def exchange(self, method: str, path: str, body: bytes = b"") -> Any:
        """Return the JSON that answers a request.

        Raises:
            EndpointError: No answer, an error status, or no JSON.
        """
        try:
            async with asyncio.timeout(self._answer_s):
                response = await self.send(method, path, body)
                try:
                    return json.loads(await response.aread())
                finally:
                    await response.aclose()
        except TimeoutError as error:
            raise EndpointTimedOut(self._name, f"no answer to {path}") from error
        except CLIENT_ERRORS as error:
            raise from_exception(self._name, error) from error
        except ValueError as error:
            raise EndpointUnavailable(self._name, f"the answer to {path} is not JSON") from error

    async def send(self, method: str, path: str, body: bytes = b"") -> httpx2.Response:
        """Return the open response to a request; the caller closes it.

        Raises:
            EndpointError: The server cannot be reached, or answers with any status but 200.
        """
        client = self._open_client()
        request = httpx2.Request(
            method,
            self._url.copy_with(path=self._url.path.rstrip("/") + path),
            headers=self._headers(),
            content=body,
            extensions={"timeout": {"connect": self._connect_s}},
        )
        try:
            response = await client.send(request, stream=True)
            if response.status_code == 200:
                return response
            try:
                page = b""
                async for chunk in response.aiter_bytes():
                    page += chunk
                    if len(page) > ERROR_PAGE_BYTES:
                        break
            finally:
                await response.aclose()
        except CLIENT_ERRORS as error:
            raise from_exception(self._name, error) from error
        retry_after = response.headers.get("retry-after")
        raise self.strike_key(from_status(self._name, response.status_code, page, retry_after))

    def _headers(self) -> dict[str, str]:
        headers = {"Accept": "*/*", "Accept-Encoding": "identity", "Content-Type": "application/json"}
        if self._api_key:
            headers["Authorization"] = f"Bearer {self._api_key}"
        return headers

    def _open_client(self) -> httpx2.AsyncClient:
        if self._is_closed:
            raise Misuse(f"endpoint {self._name} is closed")
        if self._client is None:
            limits = httpx2.Limits(max_connections=None, max_keepalive_connections=self._keep)
            transport = self._transport or (None if is_proxied(self._url) else SpreadTransport(self._keep))
            self._client = httpx2.AsyncClient(transport=transport, limits=limits)
        return self._client


def checked_url(base_url: str) -> httpx2.URL:
    """Return the base URL, or say what is wrong with it."""
    try:
        url = httpx2.URL(base_url.strip().rstrip("/"))
    except (httpx2.InvalidURL, TypeError) as error:
        raise SettingsInvalid("LOOPWRIGHT_MODEL_URL", f"is not a URL ({type(error).__name__})") from error
    if url.scheme not in ("http", "https") or not url.host:
        raise SettingsInvalid("LOOPWRIGHT_MODEL_URL", "must look like http://host:port/v1")
    if url.userinfo:
        raise SettingsInvalid("LOOPWRIGHT_MODEL_URL", "must not hold credentials; give them as the API key")
    return url
