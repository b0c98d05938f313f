"""The dispatcher against a real receiver: signatures, retries, redirects, slow ones, and no way into the house."""

import asyncio
import json
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from types import SimpleNamespace
from typing import Any

import pytest
from standardwebhooks import Webhook
from standardwebhooks.webhooks import WebhookVerificationError

from loopwright.memory.client import make_client
from loopwright.memory.journal.ids import new_run_id
from loopwright.memory.journal.in_memory import InMemoryJournal
from loopwright.memory.outbox import Outbox
from loopwright.planner.events import RunCreated
from loopwright.settings import Settings, load_settings
from loopwright.workers import webhooks
from loopwright.workers.webhooks import DELAYS_S, MAX_BODY_BYTES, Dispatcher

from ..memory.support import eventually, in_loop
from ..servers import RedisServer, redis_server
from .receiver import Receiver, receiver, tell

QUICK = (0.01, 0.01, 0.01)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with redis_server("system", tmp_path_factory.mktemp("redis")) as running:
        yield running


@pytest.fixture
def redis(server: RedisServer) -> RedisServer:
    server.command("FLUSHALL")
    return server


class Desk:
    """A dispatcher at work, and what a test needs to feed it."""

    def __init__(self, client: Any, outbox: Outbox, journal: InMemoryJournal) -> None:
        self.client = client
        self.outbox = outbox
        self.journal = journal

    async def run(self, url: str, *statuses: str, tenant: str = "acme", **fields: Any) -> str:
        """Create a run and tell its statuses."""
        run_id = new_run_id(tenant)
        await self.journal.create(RunCreated(run_id, tenant, "clerk", "hash", "task", webhook=url, **fields))
        for status in statuses or ("succeeded",):
            await tell(self.client, run_id, url, status, tenant)
        return run_id

    async def settled(self, tenant: str = "acme") -> None:
        """Wait until nothing is left to send."""

        async def is_empty() -> bool:
            return await self.outbox.backlog(tenant) == 0

        await eventually(is_empty)


@asynccontextmanager
async def dispatching(redis: RedisServer, settings: Settings, **options: Any) -> AsyncIterator[Desk]:
    client = make_client(redis.url)
    outbox, journal, stop = Outbox(client, hold_s=options.pop("hold_s", 30.0)), InMemoryJournal(), asyncio.Event()
    dispatcher = Dispatcher(outbox, journal, settings, **{"delays_s": QUICK, "poll_s": 0.01, **options})
    task = asyncio.create_task(dispatcher.run(stop))
    try:
        yield Desk(client, outbox, journal)
        stop.set()
        await asyncio.wait_for(task, 10)
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        await client.aclose()


def allowing(*receivers: Receiver) -> Settings:
    return load_settings(webhook_allow=",".join(each.allow for each in receivers))


@in_loop
async def test_the_reference_library_accepts_what_is_sent(redis: RedisServer) -> None:
    with receiver() as hook:
        async with dispatching(redis, allowing(hook)) as desk:
            run_id = await desk.run(hook.url, "waiting", "succeeded", metadata={"ticket": 7}, thread_id="t-1")
            await desk.settled()
            secret = (await desk.outbox.secrets.get("acme")).current
    assert len(hook.received) == 2
    first, last = (Webhook(secret).verify(each.body, each.headers) for each in hook.received)
    assert first["type"] == "run.waiting"
    assert last == {
        "type": "run.succeeded",
        "timestamp": "2025-11-24T16:00:00.123Z",
        "data": {
            "id": run_id, "agent": "clerk", "status": "succeeded", "reason": None, "thread_id": "t-1",
            "metadata": {"ticket": 7},
        },
    }  # fmt: skip
    assert hook.received[0].id != hook.received[1].id
    assert hook.received[0].headers["content-type"] == "application/json"


@in_loop
async def test_a_forged_or_old_request_is_told_from_a_true_one(redis: RedisServer) -> None:
    """The checks of a receiver bite: other body, other secret, other id, other moment."""
    with receiver() as hook:
        async with dispatching(redis, allowing(hook)) as desk:
            await desk.run(hook.url)
            await desk.settled()
            verify = Webhook((await desk.outbox.secrets.get("acme")).current).verify
            other = Webhook((await desk.outbox.secrets.get("other")).current).verify
    (got,) = hook.received
    verify(got.body, got.headers)
    for body, headers, check in (
        (got.body + b" ", got.headers, verify),
        (got.body, got.headers, other),
        (got.body, got.headers | {"webhook-id": "msg_x"}, verify),
        (got.body, got.headers | {"webhook-timestamp": str(int(time.time()) - 3_600)}, verify),
    ):
        with pytest.raises(WebhookVerificationError):
            check(body, headers)


@in_loop
async def test_while_keys_are_rotated_old_and_new_secret_both_verify(redis: RedisServer) -> None:
    with receiver() as hook:
        async with dispatching(redis, allowing(hook)) as desk:
            old = await desk.outbox.secrets.get("acme")
            new = await desk.outbox.secrets.rotate("acme")
            await desk.run(hook.url)
            await desk.settled()
    (got,) = hook.received
    for secret in (old.current, new.current):
        assert Webhook(secret).verify(got.body, got.headers)


@in_loop
async def test_every_attempt_has_the_same_id_and_body_and_a_signature_of_its_own(redis: RedisServer) -> None:
    answers = iter((500, 302, 404))
    with receiver(lambda _: next(answers, 200)) as hook:
        async with dispatching(redis, allowing(hook)) as desk:
            await desk.run(hook.url)
            await desk.settled()
            verify = Webhook((await desk.outbox.secrets.get("acme")).current).verify
            assert await desk.outbox.dead_letters("acme") == []
    assert len(hook.received) == 4
    assert len({(each.id, each.body) for each in hook.received}) == 1
    for each in hook.received:
        verify(each.body, each.headers)


@pytest.mark.parametrize("status", [100, 199, 300, 301, 400, 401, 404, 429, 500, 503])
def test_only_2xx_counts_as_taken(redis: RedisServer, status: int) -> None:
    async def send() -> None:
        with receiver(lambda _: status) as hook:
            async with dispatching(redis, allowing(hook), timeout_s=2.0) as desk:
                await desk.run(hook.url)
                await desk.settled()
                (dead,) = await desk.outbox.dead_letters("acme")
        assert len(hook.received) == len(QUICK) + 1
        assert dead.attempts == len(QUICK) + 1
        assert dead.error

    asyncio.run(send())


@in_loop
async def test_a_redirect_is_not_followed(redis: RedisServer) -> None:
    with receiver() as inside, receiver() as hook:
        hook.answer = lambda _: (307, {"location": inside.url})
        async with dispatching(redis, allowing(hook, inside)) as desk:
            await desk.run(hook.url)
            await desk.settled()
    assert len(hook.received) == len(QUICK) + 1
    assert inside.received == []


@in_loop
async def test_410_ends_what_is_sent_for_the_run_and_for_no_other(redis: RedisServer) -> None:
    with receiver() as hook:
        hook.answer = lambda _: 410 if len(hook.received) == 1 else 200
        async with dispatching(redis, allowing(hook)) as desk:
            gone = await desk.run(hook.url, "waiting", "waiting", "succeeded")
            await desk.settled()
            await tell(desk.client, gone, hook.url, "succeeded")
            other = await desk.run(hook.url)
            await desk.settled()
    assert [json.loads(each.body)["data"]["id"] for each in hook.received] == [gone, other]


@in_loop
async def test_events_of_a_run_arrive_in_order_though_the_first_fails_at_first(redis: RedisServer) -> None:
    with receiver() as hook:
        hook.answer = lambda _: 500 if len(hook.received) < 3 else 200
        async with dispatching(redis, allowing(hook)) as desk:
            await desk.run(hook.url, "waiting", "succeeded")
            await desk.settled()
    told = [json.loads(each.body)["type"] for each in hook.received]
    assert told == ["run.waiting"] * 3 + ["run.succeeded"]


@in_loop
async def test_one_slow_receiver_does_not_hold_up_others(redis: RedisServer) -> None:
    """More is waiting for the slow one than a process takes in hand for one receiver."""
    let_go = threading.Event()
    with receiver(lambda _: 200 if let_go.wait(60) else 500) as slow, receiver() as quick:
        async with dispatching(redis, allowing(slow, quick), timeout_s=25.0, hold_s=60.0) as desk:
            for _ in range(webhooks.MAX_PER_RECEIVER * 2):
                await desk.run(slow.url)

            async def slow_is_full() -> bool:
                return len(slow.received) == webhooks.SENDING_PER_RECEIVER

            await eventually(slow_is_full)
            runs = [await desk.run(quick.url) for _ in range(40)]

            async def quick_has_all() -> bool:
                return len(quick.received) == len(runs)

            await eventually(quick_has_all)
            assert len(slow.received) == webhooks.SENDING_PER_RECEIVER
            let_go.set()
            await desk.settled()
    assert len({each.id for each in slow.received}) == webhooks.MAX_PER_RECEIVER * 2


@in_loop
async def test_a_receiver_that_says_nothing_counts_as_a_failure(redis: RedisServer) -> None:
    let_go = threading.Event()
    with receiver(lambda _: 200 if let_go.wait(60) else 500) as hook:
        async with dispatching(redis, allowing(hook), timeout_s=0.2, delays_s=()) as desk:
            await desk.run(hook.url)
            await desk.settled()
            (dead,) = await desk.outbox.dead_letters("acme")
        let_go.set()
    assert dead.error == "no answer within 0.2 s"


@in_loop
async def test_the_body_stays_small_whatever_the_metadata(redis: RedisServer) -> None:
    with receiver() as hook:
        async with dispatching(redis, allowing(hook)) as desk:
            run_id = await desk.run(hook.url, metadata={"text": "x" * 50_000})
            await desk.settled()
    (got,) = hook.received
    assert len(got.body) <= MAX_BODY_BYTES
    assert json.loads(got.body)["data"] | {"reason": None} == {
        "id": run_id, "agent": "clerk", "status": "succeeded", "reason": None, "thread_id": None, "metadata": None,
    }  # fmt: skip


@in_loop
async def test_a_run_that_has_left_the_journal_is_told_all_the_same(redis: RedisServer) -> None:
    with receiver() as hook:
        async with dispatching(redis, allowing(hook)) as desk:
            run_id = new_run_id("acme")
            await tell(desk.client, run_id, hook.url, "failed")
            await desk.settled()
    assert json.loads(hook.received[0].body)["data"]["id"] == run_id


@in_loop
async def test_what_goes_wrong_inside_counts_as_an_attempt(redis: RedisServer, caplog: Any) -> None:
    """Otherwise one delivery that breaks the sender would come back for ever."""

    def broken() -> Any:
        raise RuntimeError("no transport")

    with receiver() as hook:
        async with dispatching(redis, allowing(hook), connect=broken) as desk:
            await desk.run(hook.url)
            await desk.settled()
            (dead,) = await desk.outbox.dead_letters("acme")
    assert dead.error == "failed (RuntimeError)"
    assert dead.attempts == len(QUICK) + 1


@in_loop
async def test_a_stopped_dispatcher_leaves_what_it_had_to_the_next(redis: RedisServer) -> None:
    with receiver(lambda _: time.sleep(0.2) or 200) as hook:
        async with dispatching(redis, allowing(hook)) as desk:
            runs = [await desk.run(hook.url, tenant=f"t{index}") for index in range(20)]
            await asyncio.sleep(0.05)
        async with dispatching(redis, allowing(hook)) as desk:
            for index in range(20):
                await desk.settled(f"t{index}")
    assert {json.loads(each.body)["data"]["id"] for each in hook.received} == set(runs)
    assert len(hook.received) == len(runs)


def test_the_schedule_has_ten_attempts_within_about_76_hours() -> None:
    assert len(DELAYS_S) + 1 == 10
    assert 75 <= sum(DELAYS_S) / 3_600 <= 77
    assert list(DELAYS_S) == sorted(DELAYS_S)


@in_loop
async def test_a_name_that_takes_for_ever_to_look_up_does_not_hold_up_the_end(
    redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker's loop hands its runs over meanwhile."""
    asked, enough, answered = threading.Event(), threading.Event(), threading.Event()

    def slow(*_: Any, **__: Any) -> Any:
        asked.set()
        enough.wait(5)
        answered.set()
        raise OSError

    client, stop = make_client(redis.url), asyncio.Event()
    store: Any = SimpleNamespace(outbox=Outbox(client), journal=InMemoryJournal())
    monkeypatch.setattr("socket.getaddrinfo", slow)
    task = asyncio.create_task(webhooks.run_webhooks(store, load_settings(grace_s=0.2), stop))
    await tell(client, new_run_id("acme"), "https://slow.example/", "succeeded", "acme")
    try:
        assert await asyncio.to_thread(asked.wait, 10)
        stop.set()
        await asyncio.wait_for(task, 10)
        assert not answered.is_set()
    finally:
        enough.set()
        await client.aclose()
