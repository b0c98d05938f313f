"""The scripts of remote calls: each attempt starts once, results are counted, nothing outlives its run."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from loopwright.errors import Fenced, JournalUnavailable
from loopwright.memory.client import make_client
from loopwright.memory.journal import remote
from loopwright.memory.journal.contract import Claim
from loopwright.memory.journal.redis import RedisJournal
from loopwright.memory.journal.remote import Registered, RemoteCalls
from loopwright.planner.events import RunSucceeded, RunWaiting

from ..servers import RedisServer
from .support import claimed, in_loop

A = Registered("1.1", 1, '{"n":1}', 60_000)
B = Registered("1.2", 1, '{"n":2}')
LONG_S = 600.0


class Scene:
    """A run that is held, and calls beside it."""

    def __init__(self, server: RedisServer, journal: RedisJournal, calls: RemoteCalls, claim: Claim) -> None:
        self.server = server
        self.journal = journal
        self.calls = calls
        self.claim = claim
        self.lease = claim.lease
        self.run = claim.lease.run_id

    async def sleep(self, due_in_s: float | None = LONG_S) -> None:
        """Let the run wait for its tools."""
        self.journal.append(self.lease, RunWaiting("tool", ("1.1",)))
        await self.journal.release(self.lease, due_in_s=due_in_s)

    async def due(self) -> list[str]:
        return await self.journal.due()

    def due_ms(self) -> float:
        """Return the moment at which somebody must look at the run."""
        reply = self.server.command("ZSCORE", f"{{s{self.run[:2]}}}:due", self.run).decode()
        return float(reply.split("\r\n")[1])

    def keys(self) -> str:
        return self.server.command("KEYS", "*:c").decode()


@asynccontextmanager
async def scene(server: RedisServer) -> AsyncIterator[Scene]:
    server.command("FLUSHALL")
    journal, client = RedisJournal(server.url), make_client(server.url)
    try:
        yield Scene(server, journal, RemoteCalls(client), await claimed(journal))
    finally:
        await journal.aclose()
        await client.aclose()


def test_of_many_copies_of_a_message_one_starts_the_call_and_may_ask_again(server: RedisServer) -> None:
    @in_loop
    async def go() -> None:
        async with scene(server) as here:
            await here.calls.register(here.lease, [A, B])
            tokens = [f"t{n}" for n in range(8)]
            got = await asyncio.gather(*[here.calls.start(here.run, "1.1", 1, each, ttl_s=9) for each in tokens])
            ((winner, started),) = [(token, each) for token, each in zip(tokens, got, strict=True) if each]
            assert started.request == A.request
            assert started.left_ms is not None
            assert 0 < started.left_ms <= 60_000
            assert await here.calls.start(here.run, "1.1", 1, winner, ttl_s=9)
            other = await here.calls.start(here.run, "1.2", 1, "t", ttl_s=9)
            assert other is not None
            assert other.left_ms is None

    go()


def test_a_call_that_is_not_registered_or_of_another_attempt_is_not_started(server: RedisServer) -> None:
    @in_loop
    async def go() -> None:
        async with scene(server) as here:
            assert await here.calls.start(here.run, "1.1", 1, "t", ttl_s=9) is None
            await here.calls.register(here.lease, [A])
            assert await here.calls.start(here.run, "1.1", 2, "t", ttl_s=9) is None
            assert await here.calls.start(here.run, "1.1", 1, "t", ttl_s=9)
            await here.calls.register(here.lease, [Registered("1.1", 2, "{}")])
            assert await here.calls.start(here.run, "1.1", 1, "late", ttl_s=9) is None
            assert not await here.calls.beat(here.run, "1.1", "t", ttl_s=9)
            assert await here.calls.deposit(here.run, "1.1", "t", "old") is None
            assert (await here.calls.look(here.lease, ["1.1"]))["1.1"].outcome == ""
            assert await here.calls.start(here.run, "1.1", 2, "new", ttl_s=9)

    go()


def test_where_a_call_is_can_be_seen_at_every_stage(server: RedisServer) -> None:
    @in_loop
    async def go() -> None:
        async with scene(server) as here:
            assert await here.calls.look(here.lease, ["1.1"]) == {}
            await here.calls.register(here.lease, [A])
            await here.calls.register(here.lease, [A])
            sent = (await here.calls.look(here.lease, ["1.1"]))["1.1"]
            assert (sent.state, sent.attempt, sent.sends, sent.outcome) == ("sent", 1, 2, "")
            await here.calls.start(here.run, "1.1", 1, "t", ttl_s=0.05)
            started = (await here.calls.look(here.lease, ["1.1"]))["1.1"]
            assert started.state == "started"
            await asyncio.sleep(0.1)
            assert (await here.calls.look(here.lease, ["1.1"]))["1.1"].alive_ms < 0
            assert await here.calls.beat(here.run, "1.1", "t", ttl_s=9)
            assert (await here.calls.look(here.lease, ["1.1"]))["1.1"].alive_ms > 0
            await here.calls.register(here.lease, [A])
            assert (await here.calls.look(here.lease, ["1.1"]))["1.1"].state == "started"
            assert await here.calls.deposit(here.run, "1.1", "t", "the result \u00e4\n") == "normal"
            done = (await here.calls.look(here.lease, ["1.1"]))["1.1"]
            assert (done.state, done.outcome) == ("done", "the result \u00e4\n")

    go()


def test_the_last_of_the_results_wakes_the_run_and_only_that_one(server: RedisServer) -> None:
    @in_loop
    async def go() -> None:
        async with scene(server) as here:
            await here.calls.register(here.lease, [A, B])
            await here.sleep()
            for call, token in (("1.1", "a"), ("1.2", "b")):
                assert await here.calls.start(here.run, call, 1, token, ttl_s=9)
            assert await here.calls.deposit(here.run, "1.1", "a", "x") is None
            assert await here.due() == []
            assert await here.calls.deposit(here.run, "1.1", "stranger", "x") is None
            assert await here.calls.deposit(here.run, "1.2", "b", "y") == "normal"
            assert await here.calls.deposit(here.run, "1.2", "b", "z") == "normal"
            assert await here.due() == [here.run]
            claim = await here.journal.claim(here.run, "w", ttl_s=LONG_S)
            found = await here.calls.look(claim.lease, ["1.1", "1.2"])
            assert [found[each].outcome for each in ("1.1", "1.2")] == ["x", "y"]

    go()


def test_a_result_that_comes_while_the_run_is_held_makes_it_due_at_its_release(server: RedisServer) -> None:
    @in_loop
    async def go() -> None:
        async with scene(server) as here:
            await here.calls.register(here.lease, [A])
            await here.calls.start(here.run, "1.1", 1, "t", ttl_s=9)
            await here.calls.deposit(here.run, "1.1", "t", "x")
            assert await here.due() == []
            await here.sleep(due_in_s=None)
            assert await here.due() == [here.run]
            claim = await here.journal.claim(here.run, "w", ttl_s=LONG_S)
            await here.journal.release(claim.lease, due_in_s=LONG_S)
            assert await here.due() == []

    go()


@pytest.mark.parametrize("sent_again", [False, True])
def test_the_counter_of_results_survives_repetitions(server: RedisServer, sent_again: bool) -> None:
    @in_loop
    async def go() -> None:
        async with scene(server) as here:
            await here.calls.register(here.lease, [A, B])
            for attempt in (1, 2):
                for _ in range(3):
                    await here.calls.register(here.lease, [Registered("1.1", attempt, "{}")])
            await here.calls.start(here.run, "1.1", 2, "t", ttl_s=9)
            await here.calls.deposit(here.run, "1.1", "t", "x")
            if sent_again:
                await here.calls.register(here.lease, [Registered("1.1", 3, "{}")])
            await here.calls.look(here.lease, ["1.1"])
            await here.sleep()
            if sent_again:
                assert await here.due() == []
                await here.calls.start(here.run, "1.1", 3, "u", ttl_s=9)
                assert await here.calls.deposit(here.run, "1.1", "u", "y") == "normal"
            assert here.server.command("HGET", f"{{s{here.run[:2]}}}:run:{here.run}:c", "pending") == b"$1\r\n0\r\n"

    go()


def test_calls_that_nobody_asks_about_any_more_are_forgotten(server: RedisServer) -> None:
    @in_loop
    async def go() -> None:
        async with scene(server) as here:
            await here.calls.register(here.lease, [A, B])
            assert set(await here.calls.look(here.lease, ["1.2"])) == {"1.2"}
            assert await here.calls.start(here.run, "1.1", 1, "t", ttl_s=9) is None
            await here.calls.forget(here.lease)
            assert here.keys() == "*0\r\n"

    go()


def test_a_superseded_lease_registers_and_forgets_nothing(server: RedisServer) -> None:
    @in_loop
    async def go() -> None:
        async with scene(server) as here:
            await here.calls.register(here.lease, [A])
            await here.journal.release(here.lease)
            claim = await here.journal.claim(here.run, "other", ttl_s=LONG_S)
            with pytest.raises(Fenced):
                await here.calls.register(here.lease, [B])
            with pytest.raises(Fenced):
                await here.calls.look(here.lease, ["1.1"])
            await here.calls.forget(here.lease)
            assert set(await here.calls.look(claim.lease, ["1.1", "1.2"])) == {"1.1"}

    go()


def test_after_a_cancellation_is_acknowledged_no_call_starts_and_a_running_one_is_told(server: RedisServer) -> None:
    @in_loop
    async def go() -> None:
        async with scene(server) as here:
            await here.calls.register(here.lease, [A, B])
            await here.calls.start(here.run, "1.1", 1, "t", ttl_s=9)
            await here.sleep()
            await here.journal.request_cancel(here.run, "stop")
            assert await here.calls.start(here.run, "1.2", 1, "u", ttl_s=9) is None
            assert not await here.calls.beat(here.run, "1.1", "t", ttl_s=9)
            assert await here.due() == [here.run]

    go()


def test_the_end_of_a_run_takes_its_calls_with_it(server: RedisServer) -> None:
    @in_loop
    async def go() -> None:
        async with scene(server) as here:
            await here.calls.register(here.lease, [A, B])
            await here.calls.start(here.run, "1.1", 1, "t", ttl_s=9)
            here.journal.append(here.lease, RunSucceeded("1"))
            await here.journal.barrier(here.lease, durable=True)
            assert here.keys() == "*0\r\n"
            assert not await here.calls.beat(here.run, "1.1", "t", ttl_s=9)
            assert await here.calls.deposit(here.run, "1.1", "t", "x") is None
            assert await here.calls.start(here.run, "1.2", 1, "u", ttl_s=9) is None
            assert here.keys() == "*0\r\n"
            assert await here.due() == []

    go()


def test_a_sleeping_run_is_not_looked_at_while_its_tool_works_but_nothing_urgent_is_put_off(
    server: RedisServer,
) -> None:
    @in_loop
    async def go() -> None:
        async with scene(server) as here:
            await here.calls.register(here.lease, [A])
            await here.sleep(due_in_s=5)
            before = here.due_ms()
            await here.calls.start(here.run, "1.1", 1, "t", ttl_s=60)
            assert here.due_ms() >= before + 50_000
            assert await here.calls.beat(here.run, "1.1", "t", ttl_s=1)
            assert here.due_ms() <= before
            claim = await here.journal.claim(here.run, "w", ttl_s=LONG_S)
            await here.journal.release(claim.lease, due_in_s=0)
            urgent = here.due_ms()
            await asyncio.sleep(0.01)
            assert await here.calls.beat(here.run, "1.1", "t", ttl_s=60)
            assert here.due_ms() == urgent

    go()


def test_in_replicated_mode_a_call_starts_only_when_a_replica_knows_it(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "_WAIT_MS", 50)

    @in_loop
    async def go() -> None:
        async with scene(server) as here:
            client = make_client(server.url)
            calls = RemoteCalls(client, durability="replicated")
            await calls.register(here.lease, [A])
            with pytest.raises(JournalUnavailable, match="replica"):
                await calls.start(here.run, "1.1", 1, "t", ttl_s=9)
            await client.aclose()

    go()


def test_calls_of_a_run_that_nobody_touches_do_not_stay_for_ever(server: RedisServer) -> None:
    @in_loop
    async def go() -> None:
        async with scene(server) as here:
            await here.calls.register(here.lease, [A])
            key = f"{{s{here.run[:2]}}}:run:{here.run}:c"
            assert 0 < int(here.server.command("PTTL", key)[1:].split()[0]) <= 7 * 86_400_000

    go()
