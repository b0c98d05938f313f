"""Send a request to an address that was checked: the name travels in Host and SNI only.

The system's resolver is asked once and never again, so a second, different answer has no effect. Proxies, cookies,
credentials and `.netrc` of the environment are never used; redirects are not followed here.
"""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Mapping
from functools import cache
from typing import TYPE_CHECKING

from .http_guard import Target

if TYPE_CHECKING:
    import ssl

    import httpx2

Resolve = Callable[[str, int], Awaitable[list[str]]]
"""Returns every address of a host, as text."""

Connect = Callable[[], "httpx2.AsyncBaseTransport"]
"""Opens a transport for one request; the request's URL holds the checked address."""

MAX_ADDRESSES = 3
"""Addresses of one host that are tried, each for `CONNECT_TIMEOUT_S` at most."""

CONNECT_TIMEOUT_S = 5.0
READ_TIMEOUT_S = 10.0


async def resolve_host(host: str, port: int) -> list[str]:
    """Ask the system's resolver for every address of a host."""
    answers = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(answer[4][0]) for answer in answers]


def plain_transport() -> "httpx2.AsyncBaseTransport":
    """Open a transport that verifies certificates and ignores the environment's proxies."""
    import httpx2

    return httpx2.AsyncHTTPTransport(verify=_certificates(), trust_env=False, retries=0)


@cache
def _certificates() -> "ssl.SSLContext":
    """Read the system's certificates once; that takes a tenth of a second."""
    import httpx2

    return httpx2.create_ssl_context()


def pinned_request(
    method: str,
    target: Target,
    address: str,
    headers: Mapping[str, str],
    *,
    content: bytes | None = None,
    read_s: float = READ_TIMEOUT_S,
) -> "httpx2.Request":
    """Return a request for a target that connects to `address` and to nothing else.

    Args:
        method: GET, POST and the like.
        target: What is asked for.
        address: One of the target's addresses, checked.
        headers: Headers beside `Host` and `Connection`.
        content: The body.
        read_s: Seconds that the other side may be silent.
    """
    import httpx2

    standard = {"http": 80, "https": 443}[target.url.scheme] == target.port
    name = f"[{target.host}]" if ":" in target.host else target.host
    host = name if standard else f"{name}:{target.port}"
    return httpx2.Request(
        method,
        target.url.copy_with(host=address),
        headers={"Host": host, "User-Agent": "loopwright", "Connection": "close", **headers},
        content=content,
        extensions={
            "timeout": httpx2.Timeout(read_s, connect=CONNECT_TIMEOUT_S).as_dict(),
            "sni_hostname": target.host,
        },
    )
