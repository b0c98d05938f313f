"""Runs move to the archive and answer from there; killed anywhere, nothing is lost and nothing is there twice."""

import asyncio
import gzip
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from loopwright.errors import JournalCorrupt, JournalUnavailable, RunNotFound, SettingsInvalid
from loopwright.memory.archive import Archive, pack, sweep, unpack
from loopwright.memory.archived_journal import ArchivedJournal
from loopwright.memory.journal.contract import Journal, Snapshot
from loopwright.memory.journal.ids import new_run_id
from loopwright.memory.journal.in_memory import InMemoryJournal
from loopwright.memory.journal.redis import RedisJournal

from ..servers import RedisServer
from .support import DONE, claimed, finish, in_loop, step

FAR = 4_000_000_000_000
"""A clock at which every run's time is over."""


@dataclass
class Place:
    journal: ArchivedJournal
    inner: Journal
    archive: Archive

    async def finished(self, tenant: str = "acme", words: int = 1) -> Snapshot:
        lease = (await claimed(self.journal, tenant)).lease
        self.journal.append(
            lease, step(1, "line\r\n\u2028 \u00e4 \x00" * words), artifacts={"1.1": "text\n\u00e4", "b": ""}
        )
        await finish(self.journal, lease)
        return await self.inner.snapshot(lease.run_id)

    async def sweep(self, **options: Any) -> int:
        return await sweep(self.inner, self.archive, 60.0, now_ms=lambda: FAR, **options)


@asynccontextmanager
async def place(server: RedisServer, url: str) -> AsyncIterator[Place]:
    server.command("FLUSHALL")
    inner = RedisJournal(server.url, retention_s=60, archived=True)
    archive = Archive(url)
    try:
        yield Place(ArchivedJournal(inner, archive), inner, archive)
    finally:
        await inner.aclose()


def names(folder: Path) -> list[str]:
    return sorted(str(each.relative_to(folder)) for each in folder.rglob("*") if each.is_file())


async def answers(journal: Journal, whole: Snapshot) -> None:
    """Everything that can be asked of a run is answered as before it moved."""
    run_id = whole.record.run_id
    assert await journal.read(run_id) == list(whole.events)
    second = whole.events[1].id
    assert await journal.read(run_id, after=second, limit=1) == [whole.events[2]]
    assert [each async for each in journal.follow(run_id)] == list(whole.events)
    assert [each async for each in journal.follow(run_id, after=second)] == list(whole.events[2:])
    assert [each async for each in journal.follow(run_id, after=whole.events[-1].id)] == []
    assert await journal.artifact(run_id, "1.1") == "text\n\u00e4"
    assert await journal.artifact(run_id, "b") == ""
    assert await journal.artifact(run_id, "none") is None
    record = await journal.record(run_id)
    assert (record.status, record.step, record.tenant, record.epoch) == ("succeeded", 1, whole.record.tenant, 1)
    assert (await journal.snapshot(run_id)).events == whole.events
    await journal.request_cancel(run_id, "too late")


@pytest.mark.parametrize("kind", ["folder", "file", "fsspec"])
@pytest.mark.parametrize("listed_s", [3600.0, 0.0])
@in_loop
async def test_an_archived_run_answers_as_before(
    server: RedisServer, tmp_path: Path, kind: str, listed_s: float
) -> None:
    url = {"folder": str(tmp_path), "file": f"file://{tmp_path}", "fsspec": f"memory://{tmp_path.name}"}[kind]
    async with place(server, url) as here:
        kept = [await here.finished(tenant) for tenant in ("acme", "umbrella", "..", "a/b:*")]
        running = (await claimed(here.journal)).lease
        assert await here.sweep(listed_s=listed_s) == len(kept)
        assert await here.sweep(listed_s=listed_s) == 0
        for whole in kept:
            with pytest.raises(RunNotFound):
                await here.inner.read(whole.record.run_id)
            await answers(here.journal, whole)
            assert (await here.journal.record(whole.record.run_id)).archived
            listed = [each.run_id for each in await here.journal.runs(whole.record.tenant)]
            assert (whole.record.run_id in listed) is (listed_s > 0)
        assert (await here.journal.record(running.run_id)).status == "running"
        for unknown in (new_run_id("acme"), new_run_id("nobody"), "nonsense", ""):
            for ask in (here.journal.read, here.journal.record, here.journal.snapshot):
                with pytest.raises(RunNotFound):
                    await ask(unknown)
            assert await here.journal.artifact(unknown, "1.1") is None


@in_loop
async def test_files_lie_where_the_page_says_and_hold_lines_of_json(one_server: RedisServer, tmp_path: Path) -> None:
    async with place(one_server, str(tmp_path / "new" / "archive")) as here:
        whole = await here.finished()
        await here.finished("../x")
        await here.sweep()
        month = time.strftime("%Y-%m", time.gmtime(whole.record.created_ms / 1000))
        found = names(tmp_path / "new" / "archive")
        assert f"acme/{month}/{whole.record.run_id}.jsonl.gz" in found
        assert [each.split("/")[0] for each in found] == ["%2E%2E%2Fx", "acme"]
        lines = gzip.decompress((tmp_path / "new" / "archive" / found[1]).read_bytes()).split(b"\n")
        assert lines[0].startswith(b'{"format":"loopwright.archive/1","run":{"run_id":')
        assert lines[1].startswith(b'{"id":"') and b'"type":"run.created"' in lines[1]
        assert lines[-2] == b'{"artifact":"b","text":""}' and lines[-1] == b""
        assert names(tmp_path) == [f"new/archive/{each}" for each in found], "and nothing lies elsewhere"


@in_loop
async def test_only_runs_whose_time_is_over_move_in_bounded_numbers(one_server: RedisServer, tmp_path: Path) -> None:
    async with place(one_server, str(tmp_path)) as here:
        for _ in range(5):
            await here.finished()
        assert await sweep(here.inner, here.archive, 60.0) == 0
        assert await sweep(here.inner, here.archive, None, now_ms=lambda: FAR) == 0
        assert names(tmp_path) == []
        assert await here.sweep(limit=2) == 2
        assert len(names(tmp_path)) == 2
        assert await here.sweep(limit=200) == 3


@in_loop
async def test_sweeps_at_once_by_several_workers_agree(one_server: RedisServer, tmp_path: Path) -> None:
    async with place(one_server, str(tmp_path)) as here:
        kept = [await here.finished(words=200) for _ in range(40)]
        others = [RedisJournal(one_server.url, archived=True) for _ in range(3)]
        await asyncio.gather(
            *(sweep(each, Archive(str(tmp_path)), 60.0, now_ms=lambda: FAR, listed_s=0) for each in others)
        )
        for each in others:
            await each.aclose()
        assert len(names(tmp_path)) == 40
        for whole in kept:
            await answers(here.journal, whole)


class Died(BaseException):
    """Stands for a kill at this point."""


@pytest.mark.parametrize("point", ["list_ended", "snapshot", "before write", "after write", "delete", "after delete"])
@in_loop
async def test_a_sweep_killed_at_any_point_loses_and_doubles_nothing(
    one_server: RedisServer, tmp_path: Path, point: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with place(one_server, str(tmp_path)) as here:
        whole = await here.finished()
        target: Any = here.archive if "write" in point else here.inner
        name = point.split()[-1]
        real = getattr(target, name)

        async def dying(*args: Any, **options: Any) -> Any:
            if point.startswith("after"):
                await real(*args, **options)
            raise Died

        monkeypatch.setattr(target, name, dying)
        with pytest.raises(Died):
            await here.sweep()
        monkeypatch.undo()
        await answers(here.journal, whole)
        await here.sweep()
        await answers(here.journal, whole)
        assert len(names(tmp_path)) == 1
        assert await here.inner.list_ended(FAR, 10) == []
        assert [each.run_id for each in await here.journal.runs("acme")] == [whole.record.run_id]


_SWEEPER = """
import asyncio, sys
from loopwright.memory.archive import Archive, sweep
from loopwright.memory.journal.redis import RedisJournal

async def main():
    journal = RedisJournal(sys.argv[1], archived=True)
    await journal.connect()
    print("ready", flush=True)
    while await sweep(journal, Archive(sys.argv[2]), 60.0, now_ms=lambda: 4_000_000_000_000, listed_s=0):
        pass

asyncio.run(main())
"""


@in_loop
async def test_processes_killed_while_they_sweep_lose_and_double_nothing(
    one_server: RedisServer, tmp_path: Path
) -> None:
    chance = random.Random(5)
    async with place(one_server, str(tmp_path)) as here:
        kept = [await here.finished(words=500) for _ in range(150)]
        for _ in range(4):
            command = [sys.executable, "-c", _SWEEPER, one_server.url, str(tmp_path)]
            process = subprocess.Popen(command, stdout=subprocess.PIPE)
            assert process.stdout is not None
            await asyncio.to_thread(process.stdout.readline)
            await asyncio.sleep(chance.uniform(0.0, 0.05))
            process.send_signal(signal.SIGKILL)
            process.wait(30)
            process.stdout.close()
        while await here.sweep(listed_s=0):
            pass
        done = [each for each in names(tmp_path) if not each.endswith(".part")]
        assert len(done) == 150
        for whole in kept:
            await answers(here.journal, whole)


def test_what_killed_writers_left_is_cleared_an_hour_later(tmp_path: Path) -> None:
    whole = asyncio.run(some_run())
    archive = Archive(str(tmp_path))
    asyncio.run(archive.write(whole))
    (done,) = tmp_path.rglob("*.gz")
    old, young = done.with_name("x.jsonl.gz.0.part"), done.with_name("x.jsonl.gz.1.part")
    for each in (old, young):
        each.write_bytes(b"half")
    os.utime(old, (1, 1))
    asyncio.run(Archive(str(tmp_path)).write(whole))
    assert sorted(each.name for each in done.parent.iterdir()) == sorted([done.name, young.name])


async def some_run() -> Snapshot:
    journal = InMemoryJournal()
    lease = (await claimed(journal)).lease
    journal.append(lease, step(1), DONE, artifacts={"z": "1", "a": "2"})
    return await journal.snapshot(lease.run_id)


def test_the_same_run_makes_the_same_file() -> None:
    whole = asyncio.run(some_run())
    other = Snapshot(whole.record, whole.events, dict(reversed(list(whole.artifacts.items()))))
    assert pack(whole) == pack(other)
    assert unpack(pack(whole)).events == whole.events


@pytest.mark.parametrize(
    "spoil", [lambda b: b[:-9], lambda b: b"", lambda b: b"plain", lambda b: gzip.compress(b"{}\n")]
)
def test_a_damaged_file_is_told_as_such(spoil: Any) -> None:
    with pytest.raises(JournalCorrupt):
        unpack(spoil(pack(asyncio.run(some_run()))))


@in_loop
async def test_an_archive_that_fails_keeps_the_run_in_the_journal(one_server: RedisServer, tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    async with place(one_server, str(blocked / "archive")) as here:
        whole = await here.finished()
        with pytest.raises(JournalUnavailable, match="archive"):
            await here.sweep()
        assert await here.inner.read(whole.record.run_id) == list(whole.events)
        assert await here.inner.list_ended(FAR, 10) == [whole.record.run_id]


def test_a_url_that_nothing_knows_is_refused() -> None:
    with pytest.raises(SettingsInvalid, match="archive"):
        Archive("nothing-knows://bucket/runs")


@in_loop
async def test_a_new_tenant_is_found_by_the_id_of_a_run_soon(tmp_path: Path) -> None:
    now = [0.0]
    reader, writer = Archive(str(tmp_path), monotonic=lambda: now[0]), Archive(str(tmp_path))
    whole = await some_run()
    with pytest.raises(RunNotFound):
        await reader.read(whole.record.run_id)
    await writer.write(whole)
    now[0] += 60
    assert (await reader.read(whole.record.run_id)).events == whole.events
