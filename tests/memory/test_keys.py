"""API keys: what is stored, what is believed and for how long, and the pepper that they are hashed with."""

import asyncio
import stat
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from loopwright.errors import JournalUnavailable, KeyNotFound, Misuse, PepperMismatch, SettingsInvalid
from loopwright.memory.client import make_client
from loopwright.memory.keys import ALL_KEYS, FRESH_S, USED_EVERY_MS, Keys, key_name
from loopwright.memory.pepper import Pepper
from loopwright.settings import Settings

from ..servers import RedisServer
from .support import calls, in_loop

PEPPER = "a pepper of more than sixteen characters"


class Time:
    """A clock for moments and for passing time alike."""

    def __init__(self) -> None:
        self.now_s = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def empty(one_server: RedisServer) -> RedisServer:
    one_server.command("FLUSHALL")
    return one_server


@asynccontextmanager
async def opened(server: RedisServer, time: Time | None = None, pepper: Pepper | None = None) -> AsyncIterator[Keys]:
    client = make_client(server.url)
    time = time or Time()
    try:
        yield Keys(client, pepper or Pepper(PEPPER, "/nowhere"), clock=time, monotonic=time)
    finally:
        await client.aclose()


@pytest.fixture
def times() -> Iterator[Time]:
    yield Time()


@in_loop
async def test_a_key_opens_its_tenant_with_its_scopes_and_is_told_by_its_id(empty: RedisServer) -> None:
    async with opened(empty) as keys:
        record, token = await keys.create("acme", ["runs", "approve"], name="ci", rate=2.5, burst=7)
        assert token.startswith(f"lw_{record.id}.")
        async with opened(empty) as elsewhere:
            found = await elsewhere.verify(token)
    assert found == record
    assert (record.tenant, record.scopes, record.name) == ("acme", frozenset({"runs", "approve"}), "ci")
    assert (record.rate, record.burst) == (2.5, 7)


@in_loop
async def test_what_redis_holds_opens_nothing_and_names_no_secret(empty: RedisServer) -> None:
    """T36: the stored form is not reversible, and is no key itself."""
    async with opened(empty) as keys:
        record, token = await keys.create("acme", ["read"])
        secret = token.partition(".")[2]
        everything = b"".join(
            empty.command("HGETALL", name) for name in (key_name(record.id), "lw:metrics")
        ) + empty.command("KEYS", "*")
        assert secret.encode() not in everything
        mac = empty.command("HGET", key_name(record.id), "mac").split(b"\r\n")[1].decode()
        assert len(bytes.fromhex(mac)) == 32
        for forged in (f"lw_{record.id}.{mac[:43]}", f"lw_{record.id}.{mac}"):
            assert await keys.verify(forged) is None


@in_loop
async def test_a_key_under_the_id_of_another_is_no_key(empty: RedisServer) -> None:
    async with opened(empty) as keys:
        record, _ = await keys.create("acme", ["admin"])
        _, other = await keys.create("evil", ["read"])
        assert await keys.verify(f"lw_{record.id}.{other.partition('.')[2]}") is None


@pytest.mark.parametrize(
    "token",
    ["", "lw_", "x", "lw_0123456789abcdef", "lw_0123456789abcdef.", "lw_*.x", "lw_0123456789abcdef.\n" + "a" * 43],
)
@in_loop
async def test_text_of_another_shape_is_refused_without_a_question_to_redis(empty: RedisServer, token: str) -> None:
    async with opened(empty) as keys:
        await keys.create("acme", ["read"])
        before = calls(empty, "hgetall")
        assert await keys.verify(token) is None
        assert calls(empty, "hgetall") == before


@in_loop
async def test_a_wrong_secret_costs_the_same_lookup_whether_its_id_exists_or_not(empty: RedisServer) -> None:
    """Else an id could be found by timing; nothing that is wrong is remembered either."""
    async with opened(empty) as keys:
        record, token = await keys.create("acme", ["read"])
        assert await keys.verify(token)
        costs = []
        for key_id in (record.id, "f" * 16):
            for _ in range(2):
                before = calls(empty, "hgetall"), calls(empty, "get")
                assert await keys.verify(f"lw_{key_id}.{'A' * 43}") is None
                costs.append((calls(empty, "hgetall") - before[0], calls(empty, "get") - before[1]))
    assert costs == [(1, 1)] * 4


@in_loop
async def test_a_revoked_key_works_no_more_anywhere_within_two_seconds(empty: RedisServer, times: Time) -> None:
    async with opened(empty, times) as keys, opened(empty, times) as elsewhere:
        record, token = await keys.create("acme", ["read"])
        assert await elsewhere.verify(token) and await elsewhere.is_active(record.id)
        assert await keys.verify(token)
        await keys.revoke(record.id)
        assert await keys.verify(token) is None
        assert not await keys.is_active(record.id)
        times.now_s += FRESH_S
        assert await elsewhere.verify(token) is None
        assert not await elsewhere.is_active(record.id)
        first = (await keys.find(record.id)).revoked_ms
        times.now_s += 1
        await keys.revoke(record.id)
        assert (await keys.find(record.id)).revoked_ms == first
        with pytest.raises(KeyNotFound):
            await keys.revoke("f" * 16)


@in_loop
async def test_a_key_expires_to_the_millisecond_also_while_it_is_believed(empty: RedisServer, times: Time) -> None:
    async with opened(empty, times) as keys:
        record, token = await keys.create("acme", ["read"], ttl_s=1)
        assert await keys.verify(token) and await keys.is_active(record.id)
        times.now_s += 0.999
        assert await keys.verify(token)
        times.now_s += 0.001
        assert await keys.verify(token) is None
        assert not await keys.is_active(record.id)


@in_loop
async def test_requests_of_one_key_ask_redis_once_in_two_seconds(empty: RedisServer, times: Time) -> None:
    async with opened(empty, times) as keys:
        _, token = await keys.create("acme", ["read"])
        before = calls(empty, "hgetall")
        for _ in range(50):
            assert await keys.verify(token)
            assert await keys.any()
        assert calls(empty, "hgetall") == before + 1


@in_loop
async def test_the_last_use_is_written_once_a_minute_however_many_processes_use_it(
    empty: RedisServer, times: Time
) -> None:
    async with opened(empty, times) as keys, opened(empty, times) as elsewhere:
        record, token = await keys.create("acme", ["read"])
        start = int(times() * 1000)
        for _ in range(5):
            assert await keys.verify(token) and await elsewhere.verify(token)
            times.now_s += FRESH_S
        assert (await keys.find(record.id)).used_ms == start
        times.now_s += USED_EVERY_MS / 1000
        assert await keys.verify(token)
        assert (await keys.find(record.id)).used_ms == int(times() * 1000)


@in_loop
async def test_the_first_key_is_noticed_within_two_seconds(empty: RedisServer, times: Time) -> None:
    async with opened(empty, times) as keys, opened(empty, times) as elsewhere:
        assert not await elsewhere.any()
        record, _ = await keys.create("acme", ["read"])
        assert await keys.any()
        times.now_s += FRESH_S
        assert await elsewhere.any()
        await keys.revoke(record.id)
        times.now_s += FRESH_S
        assert await elsewhere.any(), "a server whose keys are all revoked must not be open to anybody"


@in_loop
async def test_keys_are_listed_oldest_first_for_all_tenants_or_one(empty: RedisServer, times: Time) -> None:
    async with opened(empty, times) as keys:
        made = []
        for tenant in ("acme", "beta", "acme"):
            made.append((await keys.create(tenant, ["read"]))[0])
            times.now_s += 1
        assert await keys.list() == made
        assert await keys.list("acme") == [made[0], made[2]]


@pytest.mark.parametrize(
    "wrong",
    [
        {"tenant": "a b"}, {"tenant": ""}, {"tenant": "x" * 65}, {"scopes": []}, {"name": "a\nb"}, {"ttl_s": 0},
        {"rate": 0}, {"rate": float("inf")}, {"rate": float("nan")}, {"burst": 0},
    ],
)  # fmt: skip
@in_loop
async def test_a_key_that_cannot_be_is_not_made(empty: RedisServer, wrong: dict[str, Any]) -> None:
    given = {"tenant": "acme", "scopes": ["read"], **wrong}
    async with opened(empty) as keys:
        with pytest.raises(Misuse):
            await keys.create(given.pop("tenant"), given.pop("scopes"), **given)
        assert await keys.list() == []


@in_loop
async def test_keys_cannot_be_checked_while_redis_is_away(free_port: int) -> None:
    client = make_client(f"redis://127.0.0.1:{free_port}", timeout_s=0.5)
    keys = Keys(client, Pepper(PEPPER, "/nowhere"))
    for asked in (keys.verify(f"lw_{'f' * 16}.{'A' * 43}"), keys.is_active("f" * 16), keys.any(), keys.check()):
        with pytest.raises(JournalUnavailable):
            await asked
    await client.aclose()


@in_loop
async def test_a_host_with_another_pepper_or_none_says_so(empty: RedisServer, tmp_path: Path) -> None:
    async with opened(empty) as keys:
        await keys.check()
        _, token = await keys.create("acme", ["read"])
        await keys.check()
    for other in (Pepper("quite another pepper of one's own", tmp_path), Pepper(None, tmp_path)):
        async with opened(empty, pepper=other) as keys:
            with pytest.raises(PepperMismatch, match="LOOPWRIGHT_PEPPER"):
                await keys.check()
            with pytest.raises(PepperMismatch):
                await keys.verify(token)
            with pytest.raises(PepperMismatch):
                await keys.create("acme", ["read"])
    assert list(tmp_path.iterdir()) == [], "a pepper that fits nothing must not be left behind"


@in_loop
async def test_looking_keys_up_makes_no_pepper(empty: RedisServer, tmp_path: Path) -> None:
    async with opened(empty, pepper=Pepper(None, tmp_path)) as keys:
        await keys.check()
        assert await keys.verify(f"lw_{'f' * 16}.{'A' * 43}") is None
    assert list(tmp_path.iterdir()) == []


@in_loop
async def test_of_two_hosts_that_make_the_first_key_at_once_one_is_told_to_share(
    empty: RedisServer, tmp_path: Path
) -> None:
    async with (
        opened(empty, pepper=Pepper(None, tmp_path / "one")) as one,
        opened(empty, pepper=Pepper(None, tmp_path / "two")) as two,
    ):
        made = await asyncio.gather(one.create("a", ["read"]), two.create("a", ["read"]), return_exceptions=True)
        assert len([each for each in made if isinstance(each, PepperMismatch)]) == 1
        assert len(await one.list()) == 1


def test_a_pepper_is_a_file_that_only_we_can_read(tmp_path: Path) -> None:
    pepper = Pepper.of(Settings(data_dir=str(tmp_path / "new" / "folder")))
    assert pepper.find() is None
    value = pepper.find_or_make()
    path = tmp_path / "new" / "folder" / "pepper"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(value) == 64 and path.read_text().strip().encode() == value
    assert Pepper(None, path.parent).find_or_make() == value
    assert list(path.parent.iterdir()) == [path]


def test_processes_that_make_the_pepper_at_once_all_get_the_same(tmp_path: Path) -> None:
    code = (
        "import sys; from loopwright.memory.pepper import Pepper\n"
        "sys.stdin.read(1); print(Pepper(None, sys.argv[1]).find_or_make().decode())"
    )
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(6)
    ]
    for each in racers:
        assert each.stdin
        each.stdin.write("g")
        each.stdin.flush()
    values = {each.communicate(timeout=60)[0] for each in racers}
    assert len(values) == 1 and len(values.pop().strip()) == 64
    assert [each.name for each in tmp_path.iterdir()] == ["pepper"]


def test_a_pepper_that_others_can_read_or_that_is_too_short_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "pepper"
    path.write_text("x" * 64)
    path.chmod(0o640)
    with pytest.raises(SettingsInvalid, match="chmod 600"):
        Pepper(None, tmp_path).find()
    path.chmod(0o600)
    assert Pepper(None, tmp_path).find() == b"x" * 64
    path.write_text("short")
    for short in (Pepper(None, tmp_path), Pepper("short", tmp_path)):
        with pytest.raises(SettingsInvalid, match="at least 16"):
            short.find()


def test_a_folder_that_cannot_hold_a_pepper_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingsInvalid, match="file/data"):
        Pepper(None, tmp_path / "file" / "data").find_or_make()


@in_loop
async def test_the_cost_of_a_key_does_not_grow_with_their_number(empty: RedisServer) -> None:
    async with opened(empty) as keys:
        _, token = await keys.create("acme", ["read"])
        for _ in range(50):
            await keys.create("other", ["read"])
        before = empty.command("INFO", "commandstats")
        async with opened(empty) as fresh:
            assert await fresh.verify(token)
        after = empty.command("INFO", "commandstats")
    for scan in (b"cmdstat_scan", b"cmdstat_keys", b"cmdstat_hscan"):
        assert (scan in after) == (scan in before)
    assert empty.command("ZCARD", ALL_KEYS) == b":51\r\n"
