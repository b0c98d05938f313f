"""Connections without a common pool: used again, closed when they are old or too many, never shared."""

import asyncio

import httpx2
import pytest

from loopwright.inference.spread import IDLE_S, SpreadTransport, is_proxied

from .fake_server import FakeServer, answers


async def ask(client: httpx2.AsyncClient, url: str) -> int:
    async with client.stream("GET", f"{url}/models") as response:
        await response.aread()
        return response.status_code


def test_requests_in_turn_use_one_connection_and_requests_at_once_one_each() -> None:
    async def go(server: FakeServer) -> None:
        transport = SpreadTransport(keep=8)
        async with httpx2.AsyncClient(transport=transport) as client:
            assert [await ask(client, server.url) for _ in range(3)] == [200] * 3
            assert (server.connections, transport.idle) == (1, 1)
            assert await asyncio.gather(*(ask(client, server.url) for _ in range(4))) == [200] * 4
            assert (server.connections, transport.idle) == (4, 4)
        assert transport.idle == 0

    with FakeServer(answers({})) as server:
        asyncio.run(go(server))


def test_more_idle_connections_than_are_kept_are_closed() -> None:
    async def go(server: FakeServer) -> None:
        transport = SpreadTransport(keep=2)
        async with httpx2.AsyncClient(transport=transport) as client:
            await asyncio.gather(*(ask(client, server.url) for _ in range(5)))
            assert transport.idle == 2

    with FakeServer(answers({})) as server:
        asyncio.run(go(server))


def test_a_connection_that_was_idle_for_long_is_closed() -> None:
    async def go(server: FakeServer) -> None:
        now = [0.0]
        transport = SpreadTransport(keep=8, clock=lambda: now[0])
        async with httpx2.AsyncClient(transport=transport) as client:
            await asyncio.gather(*(ask(client, server.url) for _ in range(3)))
            now[0] += IDLE_S + 1
            await ask(client, server.url)
            assert transport.idle == 2, "one of those that nobody used is gone"

    with FakeServer(answers({})) as server:
        asyncio.run(go(server))


def test_a_connection_that_broke_is_not_used_again() -> None:
    async def go() -> None:
        transport = SpreadTransport(keep=8)
        async with httpx2.AsyncClient(transport=transport) as client:
            with pytest.raises(httpx2.ConnectError):
                await ask(client, "http://127.0.0.1:1")
        assert transport.idle == 0

    asyncio.run(go())


def test_a_proxy_of_the_environment_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    url = httpx2.URL("http://models.example/v1")
    assert not is_proxied(url)
    monkeypatch.setenv("http_proxy", "http://proxy.example:3128")
    assert is_proxied(url)
    monkeypatch.setenv("no_proxy", "models.example")
    assert not is_proxied(url)
