"""The stores of the service on one Redis, and what becomes of the errors of the side stores."""

import asyncio
import os
import signal
from pathlib import Path

import pytest
from redis.exceptions import ConnectionError

from loopwright.errors import JournalUnavailable, SettingsInvalid
from loopwright.memory.archived_journal import ArchivedJournal
from loopwright.memory.client import make_client, translated
from loopwright.memory.connect import open_journal, server_facts
from loopwright.memory.journal.redis import RedisJournal
from loopwright.memory.store import open_store
from loopwright.settings import load_settings

from ..servers import RedisServer, redis_server
from .support import claimed, finish, in_loop


@in_loop
async def test_all_stores_stand_on_the_redis_that_is_named(one_server: RedisServer, tmp_path: Path) -> None:
    one_server.command("FLUSHALL")
    async with open_store(load_settings(redis_url=one_server.url, data_dir=str(tmp_path))) as store:
        assert isinstance(store.journal, RedisJournal)
        assert store.archive is None
        assert store.url == one_server.url
        await finish(store.journal, (await claimed(store.journal)).lease)
        await store.threads.create("acme", "t1")
        assert await store.keys.list() == []
        assert await store.client.ping()
    assert list(tmp_path.iterdir()) == [], "nothing is made before it is needed"


@in_loop
async def test_without_a_named_redis_an_embedded_one_serves(tmp_path: Path) -> None:
    async with open_store(load_settings(data_dir=str(tmp_path / "data"))) as store:
        assert store.url.startswith("unix://")
        await store.threads.create("acme", "t1")
    async with open_store(load_settings(data_dir=str(tmp_path / "data"))) as store:
        assert [each.id for each in await store.threads.list("acme")] == ["t1"]


@in_loop
async def test_with_an_archive_the_journal_answers_for_it(one_server: RedisServer, tmp_path: Path) -> None:
    settings = load_settings(redis_url=one_server.url, data_dir=str(tmp_path), archive=str(tmp_path / "archive"))
    async with open_store(settings) as store:
        assert isinstance(store.journal, ArchivedJournal)
        assert store.archive is store.journal.archive
    async with open_journal(settings) as (journal, _):
        assert any("appendfsync" in line for line in server_facts(journal))


@in_loop
async def test_an_archive_that_cannot_be_is_refused_at_the_start(one_server: RedisServer, tmp_path: Path) -> None:
    settings = load_settings(redis_url=one_server.url, data_dir=str(tmp_path), archive="nothing-knows://x")
    with pytest.raises(SettingsInvalid, match="archive"):
        async with open_store(settings):
            pytest.fail("it opened")


@in_loop
async def test_a_side_store_without_redis_says_so(tmp_path: Path) -> None:
    client = make_client(f"unix://{tmp_path}/nothing.sock")
    with pytest.raises(JournalUnavailable) as away:
        async with translated():
            await client.get("x")
    assert isinstance(away.value.__cause__, ConnectionError)
    await client.aclose()
    with pytest.raises(SettingsInvalid, match="redis_url"):
        make_client("http://localhost")


@in_loop
async def test_a_side_store_waits_no_longer_than_told_for_a_server_that_is_stuck(one_server: RedisServer) -> None:
    client = make_client(one_server.url, timeout_s=0.2)
    await client.ping()
    os.kill(one_server.pid, signal.SIGSTOP)
    try:
        async with asyncio.timeout(5):
            with pytest.raises(JournalUnavailable):
                async with translated():
                    await client.ping()
    finally:
        os.kill(one_server.pid, signal.SIGCONT)
    assert await client.ping()
    await client.aclose()


@in_loop
async def test_a_side_store_finds_a_restarted_server_without_an_error(tmp_path: Path) -> None:
    with redis_server("system", tmp_path) as server:
        client = make_client(server.url)
        async with translated():
            await asyncio.gather(*(client.set(f"k{n}", "v") for n in range(40)))
            server.stop()
            server.start()
            assert await asyncio.gather(*(client.get(f"k{n}") for n in range(40))) == [b"v"] * 40
        await client.aclose()


@in_loop
async def test_a_wrong_password_is_the_settings_fault(tmp_path: Path) -> None:
    with redis_server("system", tmp_path) as server:
        server.command("CONFIG", "SET", "requirepass", "secret")
        client = make_client(server.url.replace("unix://", "unix://:guess@"))
        with pytest.raises(SettingsInvalid, match="password"):
            async with translated():
                await client.get("x")
        await client.aclose()


@in_loop
async def test_errors_of_our_own_pass_through() -> None:
    with pytest.raises(KeyError):
        async with translated():
            raise KeyError("mine")
    with pytest.raises(asyncio.CancelledError):
        async with translated():
            raise asyncio.CancelledError
