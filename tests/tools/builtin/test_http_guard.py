"""SSRF: hostile URLs, hostile redirects and hostile resolvers, and a listener that must see no connection (T27)."""

import asyncio
from ipaddress import IPv6Address
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.errors import ToolError
from loopwright.tools.builtin import http_fetch, http_guard
from loopwright.tools.builtin.http_guard import is_public

PUBLIC = "93.184.215.14"
HOSTS = ["www.example.org", "*.example.net"]

# P is the port of the forbidden listener, which is allowed, so that only the host can save us.
HOSTILE_URLS = [
    # loopback in every spelling
    "http://127.0.0.1:P/",
    "https://127.0.0.1:P/",
    "http://127.1:P/",
    "http://127.0.1:P/",
    "http://0:P/",
    "http://0.0.0.0:P/",
    "http://2130706433:P/",
    "http://017700000001:P/",
    "http://0x7f000001:P/",
    "http://0x7f.0.0.1:P/",
    "http://0X7F.1:P/",
    "http://0177.0.0.1:P/",
    "http://00000177.1:P/",
    "http://127.000.000.001:P/",
    "http://127.0.0.1.:P/",
    "http://4294967295:P/",
    "http://127.0.0.01:P/",
    "http://127.255.255.254:P/",
    "http://１２７.0.0.1:P/",
    "http://①②⑦.⓪.⓪.①:P/",
    "http://127。0。0。1:P/",
    "http://127%2e0%2e0%2e1:P/",
    "http://%31%32%37.0.0.1:P/",
    # IPv6 in every spelling
    "http://[::1]:P/",
    "http://[::]:P/",
    "http://[0:0:0:0:0:0:0:1]:P/",
    "http://[0000::0001]:P/",
    "http://[::ffff:127.0.0.1]:P/",
    "http://[::ffff:7f00:1]:P/",
    "http://[::127.0.0.1]:P/",
    "http://[64:ff9b::127.0.0.1]:P/",
    "http://[64:ff9b:1::7f00:1]:P/",
    "http://[2002:7f00:1::]:P/",
    "http://[2001:0:7f00:1::]:P/",
    "http://[fe80::1%25lo]:P/",
    "http://[::1%25lo]:P/",
    "http://[fc00::1]:P/",
    "http://[fd00:ec2::254]/",
    "http://[ff02::1]:P/",
    "http://[::1:P/",
    "http://::1:P/",
    # names of this machine and of its network
    "http://localhost:P/",
    "http://LOCALHOST:P/",
    "http://localhost.:P/",
    "http://localhost.localdomain:P/",
    "http://ip6-localhost:P/",
    "http://intranet:P/",
    "http://db.internal:P/",
    "http://metadata.google.internal/computeMetadata/v1/",
    "http://169.254.169.254/latest/meta-data/",
    "http://100.100.100.200/latest/meta-data/",
    "http://168.63.129.16/metadata",
    "http://10.0.0.1:P/",
    "http://172.16.0.1:P/",
    "http://192.168.1.1:P/",
    "http://224.0.0.1:P/",
    "http://255.255.255.255:P/",
    # names that only look allowed
    "http://example.org:P/",
    "http://example.net:P/",
    "http://notexample.net:P/",
    "http://www.example.org.evil.test:P/",
    "http://www.example.org.127.0.0.1.nip.io:P/",
    "http://wwwXexample.org:P/",
    "http://a.www.example.org:P/",
    "http://127.0.0.1%00.example.net:P/",
    "http://127.0.0.1%2f.example.net:P/",
    "http://.example.net:P/",
    "http://-.example.net:P/",
    "http://*.example.net:P/",
    "http://a..example.net:P/",
    "http://www.example.org%2eevil.test:P/",
    "http://www.example.org@127.0.0.1:P/",
    "http://www.example.org:80@127.0.0.1:P/",
    "http://www.example.org%40127.0.0.1:P/",
    "http://user:secret@www.example.org:P/",
    "http://127.0.0.1:P@www.example.org/",
    "http://127.0.0.1:P#@www.example.org/",
    "http://127.0.0.1:P?@www.example.org/",
    "http://127.0.0.1:P\\@www.example.org/",
    "http://www.example.org\\@127.0.0.1:P/",
    "http://www.example.org:P:80/",
    "http://127.0.0.1:P/http://www.example.org/",
    # white space and control characters
    " http://127.0.0.1:P/",
    "http://127.0.0.1:P /",
    "http://127.0.0.1\t:P/",
    "http://www.example.org\r\nHost: 127.0.0.1:P/",
    "http://www.example.org/\r\nX: y",
    "ht\ntp://127.0.0.1:P/",
    "\x00http://127.0.0.1:P/",
    # other schemes and shapes
    "HTTP://127.0.0.1:P/",
    "file:///etc/passwd",
    "ftp://www.example.org/",
    "gopher://127.0.0.1:P/_x",
    "dict://127.0.0.1:P/x",
    "ldap://127.0.0.1:P/x",
    "ws://www.example.org:P/",
    "unix:///var/run/docker.sock",
    "data:text/html,x",
    "javascript:alert(1)",
    "//127.0.0.1:P/",
    "///127.0.0.1:P/",
    "http:127.0.0.1:P",
    "http:/127.0.0.1:P/",
    "http:///127.0.0.1:P/",
    "http://",
    "127.0.0.1:P",
    "",
    # ports
    "http://www.example.org:22/",
    "http://www.example.org:0/",
    "http://www.example.org:-1/",
    "http://www.example.org:99999/",
    "http://www.example.org:6379/",
    "http://www.example.org:8 0/",
    "http://www.example.org:0x50/",
    "http://www.example.org/" + "x" * 3_000,
]

REDIRECTS = {
    "found": [("/start", 302, "URL")],
    "permanent": [("/start", 301, "URL")],
    "same method": [("/start", 307, "URL")],
    "through another page": [("/start", 308, "/next"), ("/next", 303, "URL")],
}

PRIVATE_ADDRESSES = [
    *("127.0.0.1", "127.8.8.8", "0.0.0.0", "0.1.2.3", "10.1.2.3", "172.16.0.1", "172.31.255.255", "192.168.0.1"),
    *("100.64.0.1", "100.127.255.255", "169.254.169.254", "168.63.129.16", "192.0.0.8", "192.0.2.1", "192.88.99.1"),
    *("198.18.0.1", "198.19.255.255", "198.51.100.1", "203.0.113.1", "224.0.0.1", "239.1.1.1", "240.0.0.1"),
    *("255.255.255.255", "192.31.196.1", "192.52.193.1", "192.175.48.1", "::", "::1", "::127.0.0.1", "::ffff:10.0.0.1"),
    *("::ffff:93.184.215.14", "64:ff9b::5db8:d70e", "64:ff9b:1::1", "100::1", "2001::1", "2001:2::1", "2001:10::1"),
    *("2001:20::1", "2001:db8::1", "2002:5db8:d70e::1", "2620:4f:8000::1", "3fff::1", "5f00::1", "fc00::1", "fd12::1"),
    *("fe80::1", "fe80::1%lo", "fec0::1", "ff02::1", "4000::1", "2606:2800::5efe:7f00:1", "2606:2800::200:5efe:a00:1"),
    *("", "localhost", "127.1", "0x7f.1", "2130706433", "127.0.0.1:80", "2606:2800::1%eth0"),
]

PUBLIC_ADDRESSES = [
    "93.184.215.14",
    "1.1.1.1",
    "223.255.255.1",
    "2606:2800:21f::1",
    "2a00:1450:4001::1",
    "2001:4860::8",
]


def _resolver(**answers: list[list[str]]) -> Any:
    hosts = {name.replace("_", "."): turns for name, turns in answers.items()}
    asked: list[str] = []

    async def resolve(host: str, port: int) -> list[str]:
        asked.append(host)
        turns = hosts.get(host, [["127.0.0.1"]])
        return turns.pop(0) if len(turns) > 1 else turns[0]

    resolve.asked = asked  # type: ignore[attr-defined]
    return resolve


def _tool(forbidden: Any, connect: Any, resolve: Any) -> Any:
    ports = (80, 443, forbidden.port)
    return http_fetch(HOSTS, ports=ports, timeout_s=10, resolve=resolve, connect=connect)


def test_the_table_is_as_large_as_promised() -> None:
    assert len(set(HOSTILE_URLS)) >= 80
    assert len(REDIRECTS) == 4


def test_the_harness_sees_a_connection_that_should_not_be(
    forbidden: Any, connect: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the address check the same listener is reached, so its silence below means something."""
    monkeypatch.setattr(http_guard, "is_public", lambda _: True)
    tool = _tool(forbidden, connect, _resolver())
    assert asyncio.run(tool(f"http://www.example.org:{forbidden.port}/")).endswith("secret")
    assert forbidden.connections == 1


@pytest.mark.parametrize("url", HOSTILE_URLS, ids=lambda url: repr(url[:40]))
def test_a_hostile_url_is_refused_before_anything_is_opened(forbidden: Any, connect: Any, url: str) -> None:
    resolve = _resolver(www_example_org=[[PUBLIC]])
    with pytest.raises(ToolError) as caught:
        asyncio.run(_tool(forbidden, connect, resolve)(url.replace("P/", f"{forbidden.port}/")))
    assert resolve.asked == []
    assert forbidden.connections == 0
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("shape", REDIRECTS)
def test_a_redirect_reaches_no_forbidden_listener(site: Any, forbidden: Any, connect: Any, shape: str) -> None:
    """What a relative reference makes of these URLs may be a page of the same site; nothing else is reached."""

    async def follow_all() -> None:
        for url in HOSTILE_URLS:
            location = url.replace(":P", f":{forbidden.port}").translate({10: None, 13: None, 0: None})
            for path, status, target in REDIRECTS[shape]:
                site.redirect(path, target.replace("URL", location.encode().decode("latin-1")), status)
            resolve = _resolver(www_example_org=[[PUBLIC]])
            before = len(site.seen)
            with pytest.raises(ToolError):
                await _tool(forbidden, connect, resolve)("http://www.example.org/start")
            assert set(resolve.asked) == {"www.example.org"}
            assert len(site.seen) > before

    asyncio.run(follow_all())
    assert forbidden.connections == 0
    assert all(headers["host"].split(":")[0] == "www.example.org" for _, headers in site.seen)


@pytest.mark.parametrize("address", PRIVATE_ADDRESSES)
def test_a_name_with_an_address_that_is_not_public_is_refused(forbidden: Any, connect: Any, address: str) -> None:
    """Also when the other answers are public: none of them is used."""
    for answers in ([address], [PUBLIC, address], [address, PUBLIC]):
        with pytest.raises(ToolError, match="not public"):
            asyncio.run(
                _tool(forbidden, connect, _resolver(www_example_org=[answers]))(
                    f"http://www.example.org:{forbidden.port}/"
                )
            )
    assert forbidden.connections == 0


@pytest.mark.parametrize("address", PUBLIC_ADDRESSES)
def test_a_public_address_is_public(address: str) -> None:
    assert is_public(address)


def test_a_name_that_changes_its_address_is_asked_once(site: Any, forbidden: Any, connect: Any) -> None:
    """DNS rebinding: the first answer is public, every later one private."""
    site.page("/", b"good")
    resolve = _resolver(www_example_org=[[PUBLIC], ["127.0.0.1"]])
    assert asyncio.run(_tool(forbidden, connect, resolve)("http://www.example.org/")).endswith("good")
    assert resolve.asked == ["www.example.org"]
    assert forbidden.connections == 0


def test_a_name_that_changes_its_address_between_two_hops_is_refused(site: Any, forbidden: Any, connect: Any) -> None:
    site.redirect("/", f"http://www.example.org:{forbidden.port}/")
    resolve = _resolver(www_example_org=[[PUBLIC], ["127.0.0.1"]])
    with pytest.raises(ToolError, match="not public"):
        asyncio.run(_tool(forbidden, connect, resolve)("http://www.example.org/"))
    assert resolve.asked == ["www.example.org", "www.example.org"]
    assert forbidden.connections == 0


def test_a_redirect_to_an_allowed_name_inside_the_house_is_refused(site: Any, forbidden: Any, connect: Any) -> None:
    site.redirect("/", f"http://inside.example.net:{forbidden.port}/")
    resolve = _resolver(www_example_org=[[PUBLIC]], inside_example_net=[["127.0.0.1"]])
    with pytest.raises(ToolError, match=r"inside\.example\.net has an address that is not public"):
        asyncio.run(_tool(forbidden, connect, resolve)("http://www.example.org/"))
    assert forbidden.connections == 0


@given(st.ip_addresses())
def test_what_is_called_public_is_public_to_the_standard_library_too(address: Any) -> None:
    if is_public(str(address)):
        assert address.is_global
        assert not address.is_multicast
        assert not address.is_reserved


@given(st.integers(0, 2**32 - 1))
def test_no_ipv4_address_hides_in_an_ipv6_address(number: int) -> None:
    for prefix in ("::", "::ffff:0:0", "64:ff9b::", "64:ff9b:1::"):
        assert not is_public(str(IPv6Address(int(IPv6Address(prefix)) + number)))
    assert not is_public(str(IPv6Address(0x2002 << 112 | number << 80)))


@given(st.text(max_size=60))
def test_any_text_is_refused_or_leads_to_an_allowed_host(text: str) -> None:
    rules = http_guard.host_rules(HOSTS, (80, 443))
    for url in (text, f"http://{text}", f"http://www.example.org{text}", f"http://{text}.example.net/"):
        try:
            target = http_guard.check_url(url, rules)
        except ToolError:
            continue
        assert target.host == "www.example.org" or target.host.endswith(".example.net")
        assert target.url.copy_with(host=PUBLIC).host == PUBLIC
