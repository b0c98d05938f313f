"""Reading and following a journal, live or from any event, the same in every implementation."""

import asyncio

import pytest

from loopwright.errors import Misuse
from loopwright.memory.journal.contract import Journal, Stored

from .support import DONE, Backend, claimed, created, finish, in_loop, step


@in_loop
async def test_reading_resumes_behind_an_id_and_stops_at_a_limit(backend: Backend) -> None:
    journal = backend.open()
    lease = (await claimed(journal)).lease
    journal.append(lease, *(step(number) for number in range(1, 8)))
    await journal.barrier(lease)
    whole = await journal.read(lease.run_id)
    assert await journal.read(lease.run_id, after=whole[3].id) == whole[4:]
    assert await journal.read(lease.run_id, after=whole[3].id, limit=2) == whole[4:6]
    assert await journal.read(lease.run_id, after=whole[-1].id) == []
    for wrong in ("latest", "1-2-3", "-1", "1\r\n2"):
        with pytest.raises(Misuse):
            await journal.read(lease.run_id, after=wrong)
    await journal.aclose()


async def collect(journal: Journal, run_id: str, into: list[Stored], *, after: str = "") -> None:
    """Follow a run to its end."""
    async for each in journal.follow(run_id, after=after):
        into.append(each)


@in_loop
async def test_followers_see_every_event_once_and_end_behind_the_final_one(backend: Backend) -> None:
    journal, watcher = backend.open(), backend.open()
    lease = (await claimed(journal)).lease
    views: list[list[Stored]] = [[], [], []]
    async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
        tasks.create_task(collect(watcher, lease.run_id, views[0]))
        for number in range(1, 30):
            journal.append(lease, step(number))
            if number % 5 == 0:
                await journal.barrier(lease)
            if number == 10:
                tasks.create_task(collect(watcher, lease.run_id, views[1]))
                fifth = (await journal.read(lease.run_id))[4].id
                tasks.create_task(collect(watcher, lease.run_id, views[2], after=fifth))
        await finish(journal, lease)
    whole = await journal.read(lease.run_id)
    assert views == [whole, whole, whole[5:]]
    await journal.aclose()
    await watcher.aclose()


@in_loop
async def test_a_follower_sees_news_while_it_waits(backend: Backend) -> None:
    journal, watcher = backend.open(), backend.open()
    lease = (await claimed(journal)).lease
    news = aiter(watcher.follow(lease.run_id))
    for _ in range(2):
        await anext(news)
    for number in range(1, 6):
        waiting = asyncio.ensure_future(anext(news))
        await asyncio.sleep(0.01)
        journal.append(lease, step(number))
        async with asyncio.timeout(5):
            assert (await waiting).event == step(number)
    waiting = asyncio.ensure_future(anext(news))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    await finish(journal, lease)
    await journal.aclose()
    await watcher.aclose()


@in_loop
async def test_following_a_finished_run_ends_at_once_also_from_its_end(backend: Backend) -> None:
    journal = backend.open()
    lease = (await claimed(journal)).lease
    await finish(journal, lease)
    whole = await journal.read(lease.run_id)
    async with asyncio.timeout(5):
        assert [each async for each in journal.follow(lease.run_id)] == whole
        assert [each async for each in journal.follow(lease.run_id, after=whole[-1].id)] == []
    await journal.aclose()


@in_loop
async def test_many_followers_of_many_runs_each_see_their_own(backend: Backend) -> None:
    journal, watcher = backend.open(), backend.open()
    leases = [claim.lease for claim in await asyncio.gather(*(claimed(journal, f"t{n % 9}") for n in range(60)))]
    views: dict[str, list[Stored]] = {each.run_id: [] for each in leases}
    async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
        for lease in leases:
            tasks.create_task(collect(watcher, lease.run_id, views[lease.run_id]))
        for lease in leases:
            journal.append(lease, step(1, lease.run_id))
            await asyncio.sleep(0)
            journal.append(lease, DONE)
        await asyncio.gather(*(journal.barrier(each) for each in leases))
    for run_id, view in views.items():
        assert [each.event for each in view[2:]] == [step(1, run_id), DONE]
    await journal.aclose()
    await watcher.aclose()


@in_loop
async def test_a_page_of_a_list_looks_at_no_more_than_it_may_and_leads_on(
    backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("loopwright.memory.journal.lists._SCAN", 3)
    monkeypatch.setattr("loopwright.memory.journal.lists._SCRIPTS", 2)
    journal = backend.open()
    names = []
    for number in range(20):
        first = created(agent="rare" if number in (2, 9) else "clerk")
        await journal.create(first)
        names.append(first.run_id)
    newest_first = [each.run_id for each in await journal.runs("acme", limit=100)]
    assert sorted(newest_first) == sorted(names)
    found, pages, before = [], 0, ""
    while pages == 0 or before:
        page = await journal.page("acme", agent="rare", before=before, limit=5)
        found += [each.run_id for each in page.records]
        before, pages = page.next, pages + 1
        assert pages < 10
    assert sorted(found) == sorted([names[2], names[9]])
    if backend.name != "memory":
        assert pages > 1
    through: list[str] = []
    while not through or before:
        page = await journal.page("acme", before=before, limit=4)
        through += [each.run_id for each in page.records]
        before = page.next
    assert through == newest_first
    await journal.aclose()


@in_loop
async def test_a_snapshot_can_leave_the_artifacts_out(backend: Backend) -> None:
    journal = backend.open()
    lease = (await claimed(journal)).lease
    journal.append(lease, step(1), artifacts={"1.1": "text"})
    await finish(journal, lease)
    whole, part = await journal.snapshot(lease.run_id), await journal.snapshot(lease.run_id, artifacts=False)
    assert (whole.artifacts, part.artifacts) == ({"1.1": "text"}, {})
    assert (whole.record, whole.events) == (part.record, part.events)
    await journal.aclose()
