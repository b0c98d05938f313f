"""A server that cannot keep the declared mode is refused with the remedy."""

from pathlib import Path

import pytest

from loopwright.errors import JournalUnavailable, Misuse, SettingsInvalid
from loopwright.memory.journal.contract import Durability
from loopwright.memory.journal.redis import RedisJournal

from ..servers import RedisServer, find, redis_server
from .support import calls, claimed, created, eventually, in_loop, step


@pytest.mark.parametrize(
    ("durability", "settings", "names"),
    [
        ("always", {}, ("durability", "appendfsync everysec", "appendfsync always")),
        ("always", {"appendfsync": "always", "no_appendfsync_on_rewrite": "yes"}, ("no-appendfsync-on-rewrite",)),
        ("everysec", {"appendonly": "no"}, ("appendonly no", "appendonly yes")),
        ("everysec", {"appendfsync": "no"}, ("appendfsync no",)),
        ("replicated", {}, ("min-replicas-to-write 0", "min-replicas-to-write 1")),
        ("none", {"maxmemory_policy": "allkeys-lru"}, ("allkeys-lru", "noeviction")),
    ],
)
@in_loop
async def test_a_mode_that_the_server_cannot_give_is_refused_with_the_remedy(
    tmp_path: Path, durability: Durability, settings: dict[str, str], names: tuple[str, ...]
) -> None:
    with redis_server("system", tmp_path, **settings) as server:
        journal = RedisJournal(server.url, durability=durability)
        with pytest.raises(SettingsInvalid) as refused:
            await journal.create(created())
        assert all(each in str(refused.value) for each in names), str(refused.value)
        assert server.command("DBSIZE") == b":0\r\n"
        await journal.aclose()


@in_loop
async def test_a_server_that_forbids_config_is_used_on_the_operators_word(one_server: RedisServer) -> None:
    one_server.command("ACL", "SETUSER", "limited", "on", ">secret", "~*", "&*", "+@all", "-config")
    url = one_server.url.replace("unix://", "unix://limited:secret@")
    journal = RedisJournal(url, durability="always")
    facts = await journal.connect()
    assert "appendfsync" in facts.notes[0]
    assert facts.settings["appendonly"] == "yes"
    await claimed(journal)
    await journal.aclose()
    wrong = RedisJournal(url.replace("secret", "guess"))
    with pytest.raises(SettingsInvalid, match="password"):
        await wrong.connect()
    await wrong.aclose()


@in_loop
async def test_unreachable_and_misspelt_servers_are_told_apart(tmp_path: Path) -> None:
    journal = RedisJournal(f"unix://{tmp_path}/nothing.sock", timeout_s=0.2)
    with pytest.raises(JournalUnavailable):
        await journal.connect()
    await journal.aclose()
    with pytest.raises(SettingsInvalid):
        RedisJournal("http://localhost")
    with pytest.raises(SettingsInvalid):
        RedisJournal("redis://localhost", durability="sometimes")  # type: ignore[arg-type]
    with pytest.raises(Misuse):
        _ = RedisJournal("redis://localhost").facts


@in_loop
async def test_replicated_waits_for_a_replica(tmp_path: Path, free_port: int) -> None:
    settings = {"port": str(free_port), "bind": "127.0.0.1", "min_replicas_to_write": "1"}
    settings["repl_diskless_sync_delay"] = "0"
    with redis_server("system", tmp_path / "primary", **settings) as primary:
        replica = RedisServer(find("system"), tmp_path / "replica", replicaof=f"127.0.0.1 {free_port}")
        replica.start()
        try:
            await eventually(lambda: online(primary))
            journal = RedisJournal(primary.url, durability="replicated", timeout_s=1.0, patience_s=1.0)
            lease = (await claimed(journal)).lease
            journal.append(lease, step(1))
            await journal.barrier(lease, durable=True)
            waits = calls(primary, "wait")
            assert waits >= 1
            journal.append(lease, step(2))
            await journal.barrier(lease)
            assert calls(primary, "wait") == waits
            await journal.barrier(lease, durable=True)
            assert calls(primary, "wait") == waits + 1, "written before without waiting: waited for now"
            await journal.barrier(lease, durable=True)
            assert calls(primary, "wait") == waits + 1
            replica.kill()
            journal.append(lease, step(3))
            with pytest.raises(JournalUnavailable):
                await journal.barrier(lease, durable=True)
            await journal.aclose()
        finally:
            replica.close()


async def online(primary: RedisServer) -> bool:
    """Say whether the primary's replica is in step."""
    return b"state=online" in primary.command("INFO", "replication")
