"""Fetching from allowed hosts: good pages, bounds, and what is refused before anything is sent."""

import asyncio
import gzip
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from loopwright.errors import DefinitionInvalid, ToolError
from loopwright.tools.builtin import http_fetch

PUBLIC, PUBLIC_V6 = "93.184.215.14", "2606:2800:21f:cb07:6820:80da:af6b:8b2c"
HOSTS = ["www.example.org", "*.example.net", "bücher.example"]


async def _public(host: str, port: int) -> list[str]:
    return [PUBLIC]


@pytest.fixture
def fetch(site: Any, connect: Any) -> Callable[..., str]:
    """Fetch through a resolver that finds every host at a public address, where the site answers."""

    def fetch(url: str, *, resolve: Any = _public, **options: Any) -> str:
        tool = http_fetch(HOSTS, ports=(80, 443, 8080), resolve=resolve, connect=connect, **options)
        return asyncio.run(tool(url))

    return fetch


GOOD = [
    ("http://www.example.org/text", "plain text"),
    ("http://WWW.Example.ORG/text", "plain text"),
    ("http://www.example.org./text", "plain text"),
    ("http://www.example.org:80/text", "plain text"),
    ("http://www.example.org:8080/text", "plain text"),
    ("http://www.example.org/text#part", "plain text"),
    ("http://a.example.net/text", "plain text"),
    ("http://a.b.example.net/text", "plain text"),
    ("http://bücher.example/text", "plain text"),
    ("http://xn--bcher-kva.example/text", "plain text"),
    ("http://www.example.org/query?a=1&b=%20", "asked"),
    ("http://www.example.org/html", "Title\n\nOne & two"),
    ("http://www.example.org/json", '{"a":1}'),
    ("http://www.example.org/problem", '{"title":"t"}'),
    ("http://www.example.org/latin1", "café"),
    ("http://www.example.org/meta", "café"),
    ("http://www.example.org/odd-charset", "plain text"),
    ("http://www.example.org/packed", "packed " * 1_000),
    ("http://www.example.org/empty", ""),
    ("http://www.example.org/once", "plain text"),
    ("http://www.example.org/thrice", "plain text"),
    ("http://www.example.org/elsewhere", "plain text"),
]


def _fill(site: Any) -> None:
    site.page("/text", b"plain text")
    site.page("/query?a=1&b=%20", b"asked")
    site.page("/html", b"<title>Title</title><p>One &amp; two", "text/html; charset=utf-8")
    site.page("/json", b'{"a":1}', "application/json")
    site.page("/problem", b'{"title":"t"}', "application/problem+json")
    site.page("/latin1", "café".encode("latin-1"), 'text/plain; charset="ISO-8859-1"')
    site.page("/meta", b'<meta charset="windows-1252">' + "café".encode("cp1252"), "text/html")
    site.page("/odd-charset", b"plain text", "text/plain; charset=punycode")
    site.page("/packed", gzip.compress(b"packed " * 1_000), content_encoding="gzip")
    site.page("/empty", b"")
    site.redirect("/once", "text")
    site.redirect("/thrice", "/twice", 301)
    site.redirect("/twice", "http://www.example.org/once", 308)
    site.redirect("/elsewhere", "//other.example.net/text", 307)


@pytest.mark.parametrize(("url", "text"), GOOD)
def test_a_page_of_an_allowed_host_is_read(site: Any, fetch: Callable[..., str], url: str, text: str) -> None:
    _fill(site)
    address, _, body = fetch(url).partition("\n\n")
    assert address.startswith("http://")
    assert "#" not in address
    assert body == text.strip()


def test_the_name_travels_in_the_host_header(site: Any, fetch: Callable[..., str]) -> None:
    _fill(site)
    fetch("http://www.example.org:8080/once")
    assert [headers["host"] for _, headers in site.seen] == ["www.example.org:8080"] * 2
    assert "cookie" not in site.seen[1][1]


def test_a_host_with_two_addresses_is_read_from_the_one_that_answers(site: Any, forbidden: Any, connect: Any) -> None:
    """`192.0.0.2` stands for a public address that is down."""
    _fill(site)
    import httpx2

    def half_down() -> Any:
        class Down(connect):  # type: ignore[misc, valid-type]
            async def handle_async_request(self, request: Any) -> Any:
                if request.url.host == PUBLIC_V6:
                    raise httpx2.ConnectError("down")
                return await super().handle_async_request(request)

        return Down()

    async def resolve(host: str, port: int) -> list[str]:
        return [PUBLIC_V6, PUBLIC]

    tool = http_fetch(HOSTS, resolve=resolve, connect=half_down)
    assert asyncio.run(tool("http://www.example.org/text")).endswith("plain text")


def test_an_ipv6_host_is_read(site: Any, fetch: Callable[..., str]) -> None:
    _fill(site)

    async def resolve(host: str, port: int) -> list[str]:
        return [PUBLIC_V6]

    assert fetch("http://www.example.org/text", resolve=resolve).endswith("plain text")


@pytest.mark.skipif(shutil.which("openssl") is None, reason="makes a certificate with openssl")
def test_a_certificate_is_checked_for_the_name_and_not_for_the_address(tmp_path: Path) -> None:
    """A name of the certificate is read, another name of the same address is not."""
    import httpx2

    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subject = ["-subj", "/CN=www.example.org", "-addext", "subjectAltName=DNS:www.example.org"]
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    files = ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run(["openssl", "req", "-x509", *curve, *files, "-days", "2", *subject], check=True, capture_output=True)
    server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_context.load_cert_chain(certificate, key)
    trusting = ssl.create_default_context(cafile=str(certificate))

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 2\r\n\r\nok")
        await writer.drain()
        writer.close()

    async def check() -> None:
        server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=server_context)
        port = server.sockets[0].getsockname()[1]

        class Detour(httpx2.AsyncHTTPTransport):
            async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
                request.url = request.url.copy_with(host="127.0.0.1", port=port)
                return await super().handle_async_request(request)

        tool = http_fetch(HOSTS, resolve=_public, connect=lambda: Detour(verify=trusting, trust_env=False))
        async with server:
            assert await tool("https://www.example.org/") == "https://www.example.org/\n\nok"
            with pytest.raises(ToolError, match="cannot be reached"):
                await tool("https://other.example.net/")

    asyncio.run(check())


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("/missing", "status 404"),
        ("/broken", "status 500"),
        ("/image", "of type image/png; only text"),
        ("/untyped", "of type unknown"),
        ("/brotli", "packed as 'br'"),
        ("/double", "packed as 'gzip, gzip'"),
        ("/garbage", "cannot be unpacked"),
        ("/loop", "more than 3 redirects"),
        ("/outside", "host evil.test is not allowed"),
        ("/port", "port 6379 is not allowed"),
        ("/file", "only http:// and https://"),
    ],
)
def test_a_page_that_is_no_answer_is_named(site: Any, fetch: Callable[..., str], path: str, message: str) -> None:
    site.page("/broken", b"x", status=500)
    site.page("/image", b"x", "image/png")
    site.page("/untyped", b"x", "")
    site.page("/brotli", b"x", content_encoding="br")
    site.page("/double", b"x", content_encoding="gzip, gzip")
    site.page("/garbage", b"x" * 100, content_encoding="gzip")
    site.redirect("/loop", "/loop")
    site.redirect("/outside", "http://evil.test/")
    site.redirect("/port", "http://www.example.org:6379/")
    site.redirect("/file", "file:///etc/passwd")
    with pytest.raises(ToolError) as caught:
        fetch(f"http://www.example.org{path}")
    assert message in str(caught.value)


def test_a_long_page_is_cut_and_says_so(site: Any, fetch: Callable[..., str]) -> None:
    site.page("/long", b"x" * 3_000_000)
    page = fetch("http://www.example.org/long")
    assert page.endswith("\n[cut after 1048576 bytes]")
    assert page.count("x") == 1_048_576 + 1


def test_a_page_of_exactly_the_bound_is_whole(site: Any, fetch: Callable[..., str]) -> None:
    site.page("/exact", b"y" * 1_000)
    assert "cut" not in fetch("http://www.example.org/exact", max_bytes=1_000)
    assert "[cut after 999 bytes]" in fetch("http://www.example.org/exact", max_bytes=999)


def test_a_packed_bomb_is_cut_at_the_bound(site: Any, fetch: Callable[..., str]) -> None:
    site.page("/bomb", gzip.compress(b"\0" * 200_000_000, 9), content_encoding="gzip")
    start = time.process_time()
    assert fetch("http://www.example.org/bomb").endswith("[cut after 1048576 bytes]")
    assert time.process_time() - start < 2


def test_a_server_that_drips_is_given_up_in_time(connect: Any) -> None:
    """Each byte comes within the read timeout; the deadline of the whole fetch ends it."""
    listener = socket.create_server(("127.0.0.1", 0))

    def drip() -> None:
        connection, _ = listener.accept()
        with connection:
            try:
                connection.sendall(b"HTTP/1.1 200 OK\r\n")
                while True:
                    connection.sendall(b"a: b\r\n")
                    time.sleep(0.02)
            except OSError:
                return

    thread = threading.Thread(target=drip, daemon=True)
    thread.start()
    tool = http_fetch(HOSTS, timeout_s=0.3, resolve=_public, connect=_to(listener.getsockname()[1]))
    start = time.monotonic()
    with pytest.raises(ToolError, match=r"within 0\.3 s"):
        asyncio.run(tool("http://www.example.org/"))
    assert time.monotonic() - start < 2
    listener.close()
    thread.join(5)


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 200 OK\r\na: " + b"x" * 500_000,
        b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 50\r\n\r\nshort",
        b"HTTP/1.1 302 Found\r\nlocation: http://[\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nlocation: http://www.example.org/" + b"x" * 3_000 + b"\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nlocation: \xff\xfe://x\r\n\r\n",
    ],
    ids=lambda answer: repr(answer[:30]),
)
def test_a_broken_answer_is_refused_in_words(answer: bytes) -> None:
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(65_536)
            try:
                connection.sendall(answer)
            except OSError:
                return

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    tool = http_fetch(HOSTS, resolve=_public, connect=_to(listener.getsockname()[1]))
    with pytest.raises(ToolError) as caught:
        asyncio.run(tool("http://www.example.org/"))
    assert len(str(caught.value)) < 200
    listener.close()
    thread.join(5)


def test_a_redirect_from_https_to_http_is_not_followed() -> None:
    import httpx2

    def answer(request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(302, headers={"location": "http://www.example.org/"})

    tool = http_fetch(HOSTS, resolve=_public, connect=lambda: httpx2.MockTransport(answer))
    with pytest.raises(ToolError, match="from https to http"):
        asyncio.run(tool("https://www.example.org/"))


def test_a_host_that_cannot_be_found_or_reached_is_named(fetch: Callable[..., str]) -> None:
    async def unknown(host: str, port: int) -> list[str]:
        raise socket.gaierror("no such name")

    async def nowhere(host: str, port: int) -> list[str]:
        return []

    with pytest.raises(ToolError, match=r"www\.example\.org cannot be found"):
        fetch("http://www.example.org/", resolve=unknown)
    with pytest.raises(ToolError, match="has no address"):
        fetch("http://www.example.org/", resolve=nowhere)
    unused = socket.create_server(("127.0.0.1", 0))
    port = unused.getsockname()[1]
    unused.close()
    tool = http_fetch(HOSTS, resolve=_public, connect=_to(port))
    with pytest.raises(ToolError, match="cannot be reached"):
        asyncio.run(tool("http://www.example.org/"))


def test_proxies_of_the_environment_are_not_used(
    site: Any, forbidden: Any, fetch: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    _fill(site)
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{forbidden.port}")
    assert fetch("http://www.example.org/text").endswith("plain text")
    assert forbidden.connections == 0


@pytest.mark.parametrize(
    ("hosts", "problem"),
    [
        ([], "stays off unless hosts are allowed"),
        ("example.org", "must be a list"),
        (["*"], r"allowed_hosts\[0\]"),
        (["*.org"], r"allowed_hosts\[0\]"),
        (["a.example", "http://b.example"], r"allowed_hosts\[1\]"),
        (["127.0.0.1"], r"allowed_hosts\[0\]"),
        (["[::1]"], r"allowed_hosts\[0\]"),
        (["0x7f.1"], r"allowed_hosts\[0\]"),
        (["localhost"], r"allowed_hosts\[0\]"),
        (["a.example:80"], r"allowed_hosts\[0\]"),
        (["a.*.example"], r"allowed_hosts\[0\]"),
        ([""], r"allowed_hosts\[0\]"),
        ([7], r"allowed_hosts\[0\]"),
    ],
)
def test_the_tool_is_not_built_without_proper_hosts(hosts: Any, problem: str) -> None:
    with pytest.raises(DefinitionInvalid, match=problem):
        http_fetch(hosts)


def test_a_port_that_is_none_is_refused() -> None:
    with pytest.raises(DefinitionInvalid, match=r"ports\[1\]"):
        http_fetch(["example.org"], ports=(80, 0))


def test_the_model_sees_one_parameter() -> None:
    tool = http_fetch(["example.org"])
    assert (tool.name, tool.effect, list(tool.parameters["properties"])) == ("fetch_url", "read", ["url"])


def _to(port: int) -> Callable[[], Any]:
    """Open transports that end at a loopback port, whatever they are asked for."""
    import httpx2

    class Detour(httpx2.AsyncHTTPTransport):
        async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
            request.url = request.url.copy_with(host="127.0.0.1", port=port)
            return await super().handle_async_request(request)

    return lambda: Detour(trust_env=False)
