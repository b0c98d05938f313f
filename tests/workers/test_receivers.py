"""Where webhooks may go: hostile URLs, hostile resolvers, and the exceptions that an operator names (T27)."""

import asyncio
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from loopwright.errors import SettingsInvalid, WebhookRefused
from loopwright.memory.client import make_client
from loopwright.memory.journal.ids import new_run_id
from loopwright.memory.journal.in_memory import InMemoryJournal
from loopwright.memory.outbox import Delivery, Outbox
from loopwright.settings import load_settings
from loopwright.tools.builtin import http_guard
from loopwright.workers.receivers import check_receiver_addresses, check_webhook_url, read_allowed
from loopwright.workers.webhooks import Dispatcher

from ..servers import RedisServer, redis_server
from ..tools.builtin.conftest import PUBLIC, forbidden  # noqa: F401
from ..tools.builtin.test_http_guard import HOSTILE_URLS, PRIVATE_ADDRESSES, PUBLIC_ADDRESSES
from .receiver import tell


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with redis_server("system", tmp_path_factory.mktemp("redis")) as running:
        yield running


async def send(server: RedisServer, urls: list[str], resolve: Any, connect: Any = None) -> list[Delivery]:
    """Send one webhook to each URL, past the check at submission; return the dead letters."""
    server.command("FLUSHALL")
    client, stop = make_client(server.url), asyncio.Event()
    outbox = Outbox(client)
    how = {"delays_s": (), "poll_s": 0.01, "timeout_s": 5.0, "resolve": resolve, "connect": connect}
    dispatcher = Dispatcher(outbox, InMemoryJournal(), load_settings(), **how)
    for url in urls:
        await tell(client, new_run_id("acme"), url)
    task = asyncio.create_task(dispatcher.run(stop))
    try:
        async with asyncio.timeout(60):
            while await outbox.backlog("acme"):
                await asyncio.sleep(0.01)
        return await outbox.dead_letters("acme", 1_000)
    finally:
        stop.set()
        await task
        await client.aclose()


async def into_the_house(host: str, port: int) -> list[str]:
    """A resolver under the control of an attacker."""
    return ["127.0.0.1"]


def at(forbidden: Any) -> list[str]:  # noqa: F811
    return [url.replace("P/", f"{forbidden.port}/") for url in HOSTILE_URLS]


def test_no_hostile_url_reaches_a_listener_in_the_house(server: RedisServer, forbidden: Any) -> None:  # noqa: F811
    """Submission is passed by: what stands in the outbox is checked again when it is sent."""
    urls = at(forbidden)
    dead = asyncio.run(send(server, urls, into_the_house))
    assert len(dead) == len(urls)
    assert forbidden.connections == 0


def test_the_harness_sees_a_connection_that_should_not_be(
    server: RedisServer,
    forbidden: Any,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Without the address check the same listener is reached, so its silence above means something."""
    monkeypatch.setattr(http_guard, "is_public", lambda _: True)
    assert asyncio.run(send(server, [f"http://www.example.org:{forbidden.port}/"], into_the_house)) == []
    assert forbidden.connections == 1


def test_what_was_checked_is_what_is_connected_to(server: RedisServer) -> None:
    """DNS rebinding: a second answer of the resolver would be private, and is never asked for."""
    asked: list[str] = []
    connected: list[tuple[str, str, str]] = []

    async def rebinding(host: str, port: int) -> list[str]:
        asked.append(host)
        return [PUBLIC] if len(asked) == 1 else ["127.0.0.1"]

    class Recording(httpx2.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
            connected.append((request.url.host, request.headers["host"], request.extensions["sni_hostname"]))
            return httpx2.Response(200)

    assert asyncio.run(send(server, ["https://www.example.org:8443/"], rebinding, connect=Recording)) == []
    assert asked == ["www.example.org"]
    assert connected == [(PUBLIC, "www.example.org:8443", "www.example.org")]


@pytest.mark.parametrize("address", [each for each in PRIVATE_ADDRESSES if each])
def test_one_private_address_among_public_ones_is_enough_to_refuse(address: str) -> None:
    settings = load_settings()
    target = check_webhook_url("https://hooks.example.org/x", settings)
    for answers in ([address], [PUBLIC, address], [address, PUBLIC]):
        with pytest.raises(WebhookRefused, match="not public"):
            check_receiver_addresses(target, answers, settings)


@pytest.mark.parametrize("address", PUBLIC_ADDRESSES)
def test_public_addresses_are_receivers(address: str) -> None:
    settings = load_settings()
    target = check_webhook_url("https://hooks.example.org/x", settings)
    assert check_receiver_addresses(target, [address, address], settings) == [address]
    literal = f"[{address}]" if ":" in address else address
    assert check_webhook_url(f"https://{literal}:8443/x", settings).host == address


@pytest.mark.parametrize(
    "url",
    [
        "ftp://hooks.example.org/",
        "https://user@hooks.example.org/",
        "https://user:secret@hooks.example.org/",
        "https://localhost/",
        "https://intranet/",
        "https://127.0.0.1/",
        "https://127.1/",
        "https://2130706433/",
        "https://0x7f.1/",
        "https://10.0.0.1/",
        "https://169.254.169.254/latest",
        "https://[::1]/",
        "https://[::ffff:10.0.0.1]/",
        "https://[fd00::1]/",
        "https://hooks.example.org:25/",
        "https://hooks.example.org:0/",
        "https://hooks.example.org:99999/",
        "https://hooks.example.org /",
        "https://hooks.example.org/" + "x" * 3_000,
    ],
)
def test_a_url_that_could_never_be_delivered_is_refused_at_submission(url: str) -> None:
    with pytest.raises(WebhookRefused) as caught:
        check_webhook_url(url, load_settings())
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(
    ("allow", "good", "bad"),
    [
        ("127.0.0.1:8080", "http://127.0.0.1:8080/", "http://127.0.0.1:8081/"),
        ("localhost:8080", "http://localhost:8080/", "http://localhost/"),
        ("hooks.internal:25", "http://hooks.internal:25/", "http://hooks.internal:26/"),
        ("10.1.0.0/16", "http://10.1.2.3/", "http://10.2.2.3/"),
        ("[fd00::1]:8080", "http://[fd00::1]:8080/", "http://[fd00::2]:8080/"),
        ("fd00::/8, 10.0.0.0/8", "http://[fd00::2]:8080/", "http://[fe80::2]:8080/"),
    ],
)
def test_an_operator_can_permit_receivers_in_the_house(allow: str, good: str, bad: str) -> None:
    settings = load_settings(webhook_allow=allow)
    check_webhook_url(good, settings)
    with pytest.raises(WebhookRefused):
        check_webhook_url(bad, settings)


def test_a_range_permits_addresses_and_a_name_permits_itself_alone() -> None:
    settings = load_settings(webhook_allow="10.1.0.0/16, hooks.internal:8080")
    by_range = check_webhook_url("https://hooks.example.org/", settings)
    assert check_receiver_addresses(by_range, ["10.1.2.3", PUBLIC], settings) == ["10.1.2.3", PUBLIC]
    with pytest.raises(WebhookRefused):
        check_receiver_addresses(by_range, ["10.2.2.3"], settings)
    by_name = check_webhook_url("http://hooks.internal:8080/", settings)
    assert check_receiver_addresses(by_name, ["192.168.7.7"], settings) == ["192.168.7.7"]
    with pytest.raises(WebhookRefused, match="no address"):
        check_receiver_addresses(by_name, [], settings)


@pytest.mark.parametrize("text", ["nonsense", "host:0", "host:99999", "10.0.0.1/8", "https://a.example:80", "a:b:80"])
def test_a_setting_that_cannot_be_read_stops_the_process_at_its_start(text: str) -> None:
    with pytest.raises(SettingsInvalid, match=r"LOOPWRIGHT_WEBHOOK_ALLOW.*neither host:port nor a range"):
        load_settings(webhook_allow=f"10.0.0.0/8,{text}")


def test_an_empty_setting_permits_nothing() -> None:
    allowed = read_allowed(" , ")
    assert allowed.receivers == frozenset()
    assert allowed.networks == ()
