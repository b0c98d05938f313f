"""Signing secrets: made once, rotated with an overlap, per tenant."""

import asyncio
import base64
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from loopwright.memory.client import make_client
from loopwright.memory.webhook_secrets import WebhookSecrets, new_secret

from ..servers import RedisServer
from .support import eventually, in_loop


@pytest.fixture
def redis(one_server: RedisServer) -> Iterator[RedisServer]:
    one_server.command("FLUSHALL")
    yield one_server


@asynccontextmanager
async def opened(redis: RedisServer, **options: Any) -> AsyncIterator[WebhookSecrets]:
    client = make_client(redis.url)
    try:
        yield WebhookSecrets(client, **options)
    finally:
        await client.aclose()


def test_a_secret_has_the_form_that_the_standard_asks_for() -> None:
    secret = new_secret()
    assert secret.startswith("whsec_")
    assert 24 <= len(base64.b64decode(secret.removeprefix("whsec_"), validate=True)) <= 64


@in_loop
async def test_the_first_who_asks_makes_the_secret_and_all_get_the_same(redis: RedisServer) -> None:
    async with opened(redis) as secrets:
        found = await asyncio.gather(*(secrets.get("acme") for _ in range(20)))
        assert len(set(found)) == 1
        assert found[0].previous is None
        assert (await secrets.get("other")).current != found[0].current


@in_loop
async def test_after_a_rotation_both_secrets_sign_and_the_one_before_does_not(redis: RedisServer) -> None:
    async with opened(redis) as secrets:
        first = await secrets.get("acme")
        second = await secrets.rotate("acme")
        assert second.all == (second.current, first.current)
        assert await secrets.get("acme") == second
        third = await secrets.rotate("acme")
        assert third.all == (third.current, second.current)


@in_loop
async def test_the_old_secret_ceases_to_sign_in_the_end(redis: RedisServer) -> None:
    async with opened(redis, previous_s=0.05) as secrets:
        rotated = await secrets.rotate("acme")
        assert rotated.previous is not None and rotated.previous_until_ms is not None

        async def forgotten() -> bool:
            return (await secrets.get("acme")).all == (rotated.current,)

        await eventually(forgotten)
