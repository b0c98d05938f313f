"""Fetch a page of an allowed host as text; built only for hosts that the operator names.

Names are resolved once per hop and the connection goes to the address that was checked (`http_pin`). Redirects are
followed by hand, each through the same gate.
"""

import asyncio
import re
import zlib
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...errors import DefinitionInvalid, ToolError
from ..decorator import tool
from ..tool import Tool
from .html_text import html_to_text
from .http_guard import HostRules, Target, check_addresses, check_url, host_problems, host_rules
from .http_pin import MAX_ADDRESSES, Connect, Resolve, pinned_request, plain_transport, resolve_host

if TYPE_CHECKING:
    import httpx2

MAX_REDIRECTS = 3
MAX_BYTES = 1024 * 1024

_REDIRECTS = frozenset((301, 302, 303, 307, 308))
_TEXT = re.compile(r"text/[\w.+-]+|application/(?:[\w.-]+\+)?(?:json|xml|yaml|ld\+json|javascript|x-ndjson)")
_HTML = frozenset(("text/html", "application/xhtml+xml"))
# Only codecs that decode in linear time; Python knows some (punycode) that do not.
_CHARSET = re.compile(
    r"utf-?8|utf-?16(?:le|be)?|us-ascii|iso-?8859-\d{1,2}|latin-?1|windows-125\d|cp125\d|shift_jis|euc-jp|euc-kr"
    r"|gb2312|gbk|gb18030|big5|koi8-[ru]"
)
_META_CHARSET = re.compile(rb"<meta[^>]{0,200}?charset=[\"']?([\w-]{1,20})", re.IGNORECASE)


def http_fetch(
    allowed_hosts: Sequence[str],
    *,
    ports: Sequence[int] = (80, 443),
    max_bytes: int = MAX_BYTES,
    timeout_s: float = 20.0,
    resolve: Resolve | None = None,
    connect: Connect | None = None,
) -> Tool[[str], Awaitable[str]]:
    """Return the tool `fetch_url`, which reads pages of these hosts and of no others.

    Args:
        allowed_hosts: Host names: `example.org` is that host alone, `*.example.org` every host below it.
        ports: Ports that a URL may name.
        max_bytes: Most bytes read of a page, packed and unpacked; the rest is cut and the cut is said.
        timeout_s: Seconds for everything, redirects included.
        resolve: Looks names up; the system's resolver when left out.
        connect: Opens transports; a plain one without proxies when left out.

    Raises:
        DefinitionInvalid: No host is allowed, or an entry is not a host name.
    """
    problems = list(host_problems(allowed_hosts, ports))
    if problems:
        raise DefinitionInvalid("http_fetch", problems)
    rules = host_rules(allowed_hosts, ports)
    fetcher = _Fetcher(rules, max_bytes, resolve or resolve_host, connect or plain_transport)

    async def fetch_url(url: str) -> str:
        """Fetch a web page and return its text.

        Args:
            url: Address of the page.
        """
        try:
            async with asyncio.timeout(timeout_s):
                return await fetcher.fetch(url)
        except TimeoutError:
            raise ToolError(f"the page did not arrive within {timeout_s:g} s") from None

    return tool(effect="read", timeout_s=timeout_s + 5, max_result_tokens=2_000)(fetch_url)


@dataclass(frozen=True, slots=True)
class _Page:
    status: int
    location: str
    content_type: str
    body: bytes
    cut: bool


@dataclass(frozen=True, slots=True)
class _Fetcher:
    rules: HostRules
    max_bytes: int
    resolve: Resolve
    connect: Connect

    async def fetch(self, url: str) -> str:
        target = check_url(url, self.rules)
        for _ in range(MAX_REDIRECTS + 1):
            page = await self._get(target)
            if page.status not in _REDIRECTS or not page.location:
                return await self._read(target, page)
            following = check_url(page.location, self.rules, target.url)
            if target.url.scheme == "https" and following.url.scheme == "http":
                raise ToolError(f"{target.host} redirects from https to http; that is not followed")
            target = following
        raise ToolError(f"more than {MAX_REDIRECTS} redirects")

    async def _get(self, target: Target) -> _Page:
        """Request one URL from the first of its checked addresses that answers."""
        import httpx2

        try:
            answers = await self.resolve(target.host, target.port)
        except OSError:
            raise ToolError(f"host {target.host} cannot be found") from None
        for address in check_addresses(target.host, answers)[:MAX_ADDRESSES]:
            try:
                return await self._request(target, address)
            except (httpx2.ConnectError, httpx2.ConnectTimeout):
                continue
            except httpx2.HTTPError as exc:
                raise ToolError(f"{target.host} gave no usable answer ({type(exc).__name__})") from exc
        raise ToolError(f"{target.host} cannot be reached")

    async def _request(self, target: Target, address: str) -> _Page:
        headers = {
            "Accept": "text/*, application/json, application/xml;q=0.9",
            "Accept-Encoding": "gzip, identity",
        }
        request = pinned_request("GET", target, address, headers)
        async with await asyncio.to_thread(self.connect) as transport:
            response = await transport.handle_async_request(request)
            try:
                return await self._receive(response)
            finally:
                await response.aclose()

    async def _receive(self, response: "httpx2.Response") -> _Page:
        kind = response.headers.get("content-type", "")
        location = response.headers.get("location", "") if response.status_code in _REDIRECTS else ""
        if location or not response.is_success:
            return _Page(response.status_code, location, kind, b"", False)
        if not _TEXT.fullmatch(_media_type(kind)):
            raise ToolError(f"the page is of type {_media_type(kind)[:60] or 'unknown'}; only text can be fetched")
        body = _Body(self.max_bytes, response.headers.get("content-encoding", "").strip().lower())
        async for chunk in response.aiter_raw():
            if not body.add(chunk):
                break
        return _Page(response.status_code, "", kind, bytes(body.data), body.cut)

    async def _read(self, target: Target, page: _Page) -> str:
        if not 200 <= page.status < 300:
            raise ToolError(f"{target.host} answered with status {page.status}")
        # A megabyte of HTML takes a tenth of a second: too long for the event loop.
        text = await asyncio.to_thread(_to_text, page)
        note = f"\n[cut after {self.max_bytes} bytes]" if page.cut else ""
        return f"{target.url}\n\n{text}{note}"


class _Body:
    """Collects and unpacks a body within its bound; a small packed body cannot grow beyond it."""

    def __init__(self, max_bytes: int, encoding: str) -> None:
        if encoding not in ("", "identity", "gzip", "x-gzip"):
            raise ToolError(f"the page is packed as {encoding[:30]!r}; only gzip is understood")
        self.max_bytes = max_bytes
        self.received = 0
        self.data = bytearray()
        self.cut = False
        self._unpack = zlib.decompressobj(zlib.MAX_WBITS | 16) if "gzip" in encoding else None

    def add(self, chunk: bytes) -> bool:
        """Take a chunk in; return whether more is wanted."""
        self.received += len(chunk)
        room = self.max_bytes - len(self.data) + 1
        try:
            self.data += chunk[:room] if self._unpack is None else self._unpack.decompress(chunk, room)
        except zlib.error:
            raise ToolError("the page is packed, but cannot be unpacked") from None
        self.cut = max(len(self.data), self.received) > self.max_bytes
        del self.data[self.max_bytes :]
        return not self.cut


def _media_type(content_type: str) -> str:
    return content_type.partition(";")[0].strip().lower()


def _to_text(page: _Page) -> str:
    is_html = _media_type(page.content_type) in _HTML
    text = page.body.decode(_charset(page, is_html), "replace").removeprefix("\ufeff")
    return html_to_text(text) if is_html else text.replace("\r\n", "\n").strip()


def _charset(page: _Page, is_html: bool) -> str:
    match = re.search(r"charset=[\"']?([\w-]{1,20})", page.content_type, re.IGNORECASE)
    name = match[1] if match else ""
    if not name and is_html and (meta := _META_CHARSET.search(page.body[:2048])):
        name = meta[1].decode("ascii", "replace")
    return name.lower() if _CHARSET.fullmatch(name.lower()) else "utf-8"
