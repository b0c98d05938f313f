"""Threads on real servers: turns, messages, history, deletion, and that no thread is ever stuck."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from loopwright.errors import Misuse, RunBusy, ThreadBusy, ThreadExists, ThreadNotFound
from loopwright.memory.client import make_client
from loopwright.memory.journal.ids import new_run_id, shard_of_tenant
from loopwright.memory.journal.redis import RedisJournal
from loopwright.memory.journal.scripts import thread_key
from loopwright.memory.threads import Threads
from loopwright.planner.events import (
    Overlap,
    RunCancelled,
    RunCreated,
    RunFailed,
    RunSucceeded,
    Said,
)

from ..servers import RedisServer
from .support import TTL_S, eventually, in_loop

HI = RunSucceeded('"hi"')


def said(tenant: str, thread_id: str, task: Any = "hello") -> RunCreated:
    return RunCreated(new_run_id(tenant), tenant, "clerk", "hash", task, thread_id=thread_id)


@dataclass
class Place:
    journal: RedisJournal
    threads: Threads
    server: RedisServer

    async def submit(self, thread: str, task: Any = "hello", overlap: Overlap = "reject", **more: Any) -> str:
        return (await self.journal.create(said("acme", thread, task), overlap=overlap, **more)).run_id

    async def end(self, run_id: str, event: Any = HI) -> None:
        claim = await self.journal.claim(run_id, "w", ttl_s=TTL_S)
        self.journal.append(claim.lease, event)
        await self.journal.barrier(claim.lease)


@asynccontextmanager
async def place(server: RedisServer, **options: Any) -> AsyncIterator[Place]:
    server.command("FLUSHALL")
    client = make_client(server.url)
    journal = RedisJournal(server.url, **options)
    try:
        yield Place(journal, Threads(client, retention_s=options.get("retention_s")), server)
    finally:
        await journal.aclose()
        await client.aclose()


@in_loop
async def test_a_thread_is_made_once_and_shown_with_what_it_was_given(server: RedisServer) -> None:
    async with place(server) as here:
        made = await here.threads.create("acme", "t1", {"topic": "boxes ä", "n": 1})
        assert await here.threads.get("acme", "t1") == made
        assert made.metadata == {"topic": "boxes ä", "n": 1}
        assert made.messages == 0 and made.running is None and made.queued == ()
        with pytest.raises(ThreadExists):
            await here.threads.create("acme", "t1")
        drawn = await here.threads.create("acme")
        assert (await here.threads.get("acme", drawn.id)).id == drawn.id


@pytest.mark.parametrize("thread_id", ["a:b", "a b", "", "x" * 129, "a\n", "{s01}"])
@in_loop
async def test_an_id_that_could_lead_elsewhere_is_refused(one_server: RedisServer, thread_id: str) -> None:
    async with place(one_server) as here:
        with pytest.raises(Misuse):
            await here.threads.get("acme", thread_id)
        with pytest.raises(Misuse):
            await here.submit(thread_id)
        with pytest.raises(Misuse):
            await here.threads.get("ac:me", "t1")


@in_loop
async def test_a_run_makes_its_thread_and_leaves_task_and_answer_in_it(server: RedisServer) -> None:
    async with place(server) as here:
        run_id = await here.submit("t1", "how many\nboxes ä \u2028?")
        thread = await here.threads.get("acme", "t1")
        assert (thread.running, thread.messages) == (run_id, 0)
        await here.end(run_id, RunSucceeded('"42 \\u00e4 \\" \\\\"'))
        second = await here.submit("t1", {"question": 1.0, "big": 12345678901234567890})
        await here.end(second, RunSucceeded('{"answer":1e3,"big":12345678901234567890}'))
        shown = await here.threads.messages("acme", "t1")
        assert [(each.role, each.text, each.run_id) for each in shown] == [
            ("user", "how many\nboxes ä \u2028?", run_id),
            ("assistant", '42 ä " \\', run_id),
            ("user", '{"question":1.0,"big":12345678901234567890}', second),
            ("assistant", '{"answer":1e3,"big":12345678901234567890}', second),
        ]
        assert shown[0].at_ms > 1_600_000_000_000
        assert await here.threads.messages("acme", "t1", after=shown[1].id, limit=1) == [shown[2]]
        thread = await here.threads.get("acme", "t1")
        assert (thread.running, thread.messages, thread.queued) == (None, 4, ())


@in_loop
async def test_history_is_questions_with_answers_in_turns_and_the_newest_that_fit(server: RedisServer) -> None:
    async with place(server) as here:
        for number in range(6):
            ending = RunFailed("loop") if number == 3 else RunSucceeded(f'"answer {number}"')
            await here.end(await here.submit("t1", f"question {number}"), ending)
        whole = await here.threads.history("acme", "t1")
        assert whole == tuple(
            each
            for number in (0, 1, 2, 4, 5)
            for each in (Said("user", f"question {number}"), Said("assistant", f"answer {number}"))
        )
        assert await here.threads.history("acme", "t1", limit=5) == whole[-4:]
        assert await here.threads.history("acme", "t1", max_chars=36) == whole[-4:]
        assert await here.threads.history("acme", "t1", max_chars=35) == whole[-2:]
        assert await here.threads.history("acme", "t1", max_chars=1) == ()
        assert await here.threads.history("acme", "unknown") == ()


@in_loop
async def test_pages_of_large_messages_end_early_and_go_on_where_they_ended(one_server: RedisServer) -> None:
    async with place(one_server) as here:
        for number in range(40):
            await here.end(await here.submit("t1", f"{number:02d}" + "x" * 500_000))
        seen, after, pages = [], "", 0
        while True:
            found, has_more = await here.threads.page("acme", "t1", after=after, limit=200)
            assert sum(len(each.text) for each in found) < 10_000_000
            seen += found
            pages += 1
            if not has_more:
                break
            after = found[-1].id
        assert [each.text[:2] for each in seen[::2]] == [f"{number:02d}" for number in range(40)]
        assert len(seen) == 80 and pages in (5, 6)
        whole = await here.threads.history("acme", "t1", max_chars=600_000)
        assert [each.text[:2] for each in whole] == ["39", "hi"]


@in_loop
async def test_a_long_history_is_read_in_pages_without_losing_a_pair(one_server: RedisServer) -> None:
    async with place(one_server) as here:
        for number in range(205):
            await here.end(await here.submit("t1", f"q{number}"), RunFailed("x") if number == 7 else HI)
        whole = await here.threads.history("acme", "t1", limit=1000, max_chars=1_000_000)
        assert [each.text for each in whole[::2]] == [f"q{number}" for number in range(205) if number != 7]
        assert {each.role for each in whole[1::2]} == {"assistant"}


@in_loop
async def test_a_thread_has_one_run_at_a_time_and_the_rest_follow_in_order(server: RedisServer) -> None:
    async with place(server) as here:
        first = await here.submit("t1")
        with pytest.raises(ThreadBusy) as busy:
            await here.submit("t1")
        assert (busy.value.thread_id, busy.value.run_id) == ("t1", first)
        others = [await here.submit("t1", overlap="enqueue") for _ in range(3)]
        assert (await here.threads.get("acme", "t1")).queued == tuple(others)
        assert await here.journal.due() == [first]
        with pytest.raises(RunBusy, match="turn"):
            await here.journal.claim(others[0], "w", ttl_s=TTL_S)
        told: list[tuple[str, str]] = []
        here.journal.on_turn(lambda run_id, priority: told.append((run_id, priority)))
        for run_id, heir in zip([first, *others], [*others, None], strict=True):
            await here.end(run_id)
            assert await here.journal.due() == ([heir] if heir else [])
            assert (await here.threads.get("acme", "t1")).running == heir
        assert told == [(each, "normal") for each in others]
        await here.submit("t1")


@in_loop
async def test_an_interrupting_run_goes_first_and_the_other_is_asked_to_stop(server: RedisServer) -> None:
    async with place(server) as here:
        first = await here.submit("t1")
        lease = (await here.journal.claim(first, "w", ttl_s=TTL_S)).lease
        later = await here.submit("t1", overlap="enqueue")
        urgent = await here.journal.create(said("acme", "t1"), overlap="interrupt")
        assert urgent.is_queued
        reason = await here.journal.renew(lease, ttl_s=TTL_S)
        assert reason == f"interrupted by run {urgent.run_id}"
        here.journal.append(lease, RunCancelled(reason))
        await here.journal.barrier(lease)
        assert await here.journal.due() == [urgent.run_id]
        await here.end(urgent.run_id)
        assert await here.journal.due() == [later]


@in_loop
async def test_interrupting_a_sleeping_run_wakes_it_for_its_end(server: RedisServer) -> None:
    async with place(server) as here:
        first = await here.submit("t1", due_in_s=3600)
        assert await here.journal.due() == []
        await here.submit("t1", overlap="interrupt")
        assert await here.journal.due() == [first]
        assert (await here.journal.claim(first, "w", ttl_s=TTL_S)).cancel_requested


@in_loop
async def test_a_run_cancelled_in_the_queue_ends_without_its_turn(server: RedisServer) -> None:
    async with place(server) as here:
        first = await here.submit("t1")
        doomed = await here.submit("t1", "never", overlap="enqueue")
        last = await here.submit("t1", overlap="enqueue")
        await here.journal.request_cancel(doomed, "enough")
        assert sorted(await here.journal.due()) == sorted([first, doomed])
        await here.end(doomed, RunCancelled("enough"))
        assert (await here.threads.get("acme", "t1")).queued == (last,)
        await here.end(first)
        assert await here.journal.due() == [last]
        assert "never" not in [each.text for each in await here.threads.messages("acme", "t1")]


@in_loop
async def test_a_delayed_run_keeps_its_moment_when_its_turn_comes(server: RedisServer) -> None:
    async with place(server) as here:
        first = await here.submit("t1")
        await here.submit("t1", overlap="enqueue", due_in_s=3600)
        told: list[str] = []
        here.journal.on_turn(lambda run_id, _: told.append(run_id))
        await here.end(first)
        assert await here.journal.due() == []
        assert told == []


@in_loop
async def test_a_deleted_thread_is_gone_but_its_runs_end_in_turns(server: RedisServer) -> None:
    async with place(server) as here:
        await here.end(await here.submit("t1", "old secret"))
        first, second = await here.submit("t1"), await here.submit("t1", overlap="enqueue")
        await here.threads.delete("acme", "t1")
        for ask in (here.threads.get, here.threads.messages, here.threads.delete):
            with pytest.raises(ThreadNotFound):
                await ask("acme", "t1")
        assert await here.threads.list("acme") == []
        assert await here.threads.history("acme", "t1") == ()
        await here.end(first)
        assert await here.journal.due() == [second]
        await here.end(second)
        names = here.server.command("KEYS", "*thread*").decode()
        assert names == "*0\r\n", "nothing of the thread is left"


@in_loop
async def test_a_thread_made_anew_while_the_old_ones_run_goes_on_has_no_old_words(server: RedisServer) -> None:
    async with place(server) as here:
        await here.threads.create("acme", "t1", {"old": True})
        first = await here.submit("t1", "old")
        await here.threads.delete("acme", "t1")
        second = await here.submit("t1", "new", overlap="enqueue")
        thread = await here.threads.get("acme", "t1")
        assert (thread.running, thread.queued, thread.metadata) == (first, (second,), {})
        await here.end(first)
        await here.end(second)
        assert [each.text for each in await here.threads.messages("acme", "t1")] == ["old", "hi", "new", "hi"]


@in_loop
async def test_a_holder_that_vanished_does_not_keep_the_thread(server: RedisServer) -> None:
    """It cannot happen by what we write; a hand in the database must not stop a conversation for ever."""
    async with place(server) as here:
        first = await here.submit("t1")
        waiting = await here.submit("t1", overlap="enqueue")
        server.command("DEL", f"{{s{shard_of_tenant('acme'):02d}}}:run:{first}")
        with pytest.raises(ThreadBusy) as busy:
            await here.submit("t1")
        assert busy.value.run_id == waiting
        assert await here.journal.due() == [waiting]


@in_loop
async def test_a_child_run_takes_no_turn_and_leaves_no_message(server: RedisServer) -> None:
    async with place(server) as here:
        parent = await here.submit("t1")
        child = RunCreated(new_run_id("acme"), "acme", "aide", "hash", "sub", thread_id="t1", parent_run=parent)
        assert not (await here.journal.create(child)).is_queued
        await here.end(child.run_id)
        assert (await here.threads.get("acme", "t1")).running == parent
        assert await here.threads.messages("acme", "t1") == []


@in_loop
async def test_threads_are_listed_by_last_use_in_pages(server: RedisServer) -> None:
    async with place(server) as here:
        for number in range(7):
            await here.threads.create("acme", f"t{number}")
            await asyncio.sleep(0.002)
        await here.threads.create("other", "theirs")
        await here.end(await here.submit("t2"))
        whole = [each.id for each in await here.threads.list("acme")]
        assert whole == ["t2", "t6", "t5", "t4", "t3", "t1", "t0"]
        pages, cursor = [], ""
        while page := await here.threads.list("acme", before=cursor, limit=3):
            pages += [each.id for each in page]
            cursor = pages[-1]
        assert pages == whole
        here.server.command("DEL", thread_key(shard_of_tenant("acme"), "acme", "t5"))
        assert [each.id for each in await here.threads.list("acme", limit=3)] == ["t2", "t6", "t4"]
        assert [each.id for each in await here.threads.list("acme")] == ["t2", "t6", "t4", "t3", "t1", "t0"]
        assert await here.threads.list("acme", before="t5") == []
        assert await here.threads.list("nobody") == []


@in_loop
async def test_a_tenant_neither_sees_nor_blocks_the_thread_of_another(server: RedisServer) -> None:
    async with place(server) as here:
        await here.submit("t1", "secret")
        with pytest.raises(ThreadNotFound):
            await here.threads.get("umbrella", "t1")
        await here.journal.create(said("umbrella", "t1"))


@in_loop
async def test_idle_threads_leave_with_retention_and_busy_ones_stay(server: RedisServer) -> None:
    async with place(server, retention_s=0.15) as here:
        await here.threads.create("acme", "unused")
        await here.end(await here.submit("idle"))
        await here.end(await here.submit("busy"))
        held = await here.submit("busy")

        async def gone() -> bool:
            return [each.id for each in await here.threads.list("acme")] == ["busy"]

        assert await eventually(gone)
        assert (await here.threads.get("acme", "busy")).running == held
        assert len(await here.threads.messages("acme", "busy")) == 2


@in_loop
async def test_a_thread_is_never_stuck_whatever_happens_to_its_runs(one_server: RedisServer) -> None:
    """Runs of four threads end, are cancelled, deleted, interrupted, and threads deleted, in a random order."""
    chance = random.Random(11)
    async with place(one_server) as here:
        created: list[str] = []
        for _ in range(300):
            act = chance.choice(["submit"] * 4 + ["work"] * 6 + ["cancel", "forget", "drop"])
            thread = f"t{chance.randrange(4)}"
            if act == "submit":
                created.append(await here.submit(thread, overlap=chance.choice(["enqueue", "enqueue", "interrupt"])))
            elif act == "cancel" and created:
                await here.journal.request_cancel(chance.choice(created), "why not")
            elif act == "forget":
                for known in await here.threads.list("acme"):
                    if known.id == thread:
                        await here.threads.delete("acme", thread)
            elif act == "work":
                for run_id in await here.journal.due(limit=1):
                    await here.end(run_id, chance.choice([RunSucceeded("1"), RunFailed("x"), RunCancelled("y")]))
            elif act == "drop" and created:
                victim = chance.choice(created)
                if (await here.journal.record(victim)).status in ("succeeded", "failed", "cancelled"):
                    await here.journal.delete(victim)
                    created.remove(victim)
        while due := await here.journal.due():
            for run_id in due:
                await here.end(run_id)
        left = [(await here.journal.record(each)).status for each in created]
        assert set(left) <= {"succeeded", "failed", "cancelled"}, "every accepted run has ended"
        assert all(each.running is None and each.queued == () for each in await here.threads.list("acme"))
