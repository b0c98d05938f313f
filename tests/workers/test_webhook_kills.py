"""Dispatchers that are killed while a receiver fails: each event at least once, one id, in order (T31)."""

import asyncio
import json
import random
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from standardwebhooks import Webhook

from loopwright.memory.client import make_client
from loopwright.memory.journal.ids import new_run_id
from loopwright.memory.journal.redis import RedisJournal
from loopwright.memory.outbox import Outbox
from loopwright.planner.events import RunCreated

from ..memory.support import eventually
from ..servers import redis_server
from .receiver import Received, Receiver, receiver, tell

KILLS = 20
RUNS = 150
SCRIPT = Path(__file__).with_name("dispatch_process.py")


@contextmanager
def dispatcher(url: str, allow: str) -> Iterator[subprocess.Popen[str]]:
    """Run a dispatcher; it is killed at the end of the block."""
    command = [sys.executable, str(SCRIPT), url, allow, "1.0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process
    finally:
        process.kill()
        process.wait(30)
        assert process.stdout is not None
        process.stdout.close()


class Flaky:
    """Takes 70 % of what comes, and remembers what it took."""

    def __init__(self) -> None:
        self.random = random.Random(31)
        self.taken: list[Received] = []

    def __call__(self, seen: Received) -> int:
        if self.random.random() < 0.3:
            return self.random.choice((500, 503, 302))
        self.taken.append(seen)
        return 200


def test_no_event_is_lost_when_dispatchers_are_killed_and_the_receiver_fails(tmp_path: Path) -> None:
    flaky = Flaky()
    with redis_server("system", tmp_path) as server, receiver(flaky) as hook:
        told, secret = asyncio.run(storm(server.url, hook))
    verify = Webhook(secret).verify
    seen: dict[str, list[str]] = defaultdict(list)
    ids: dict[tuple[str, str], set[str]] = defaultdict(set)
    for each in hook.received:
        body = verify(each.body, each.headers)
        ids[body["data"]["id"], body["type"]].add(each.id)
    for each in flaky.taken:
        body = json.loads(each.body)
        seen[body["data"]["id"]].append(body["type"])
    assert {run: list(dict.fromkeys(types)) for run, types in seen.items()} == told
    assert all(len(found) == 1 for found in ids.values())
    assert len(hook.received) > 2 * RUNS * 1.2


async def storm(url: str, hook: Receiver) -> tuple[dict[str, list[str]], str]:
    """Tell two events of each run while dispatchers die; return what was told, and the secret."""
    client, journal = make_client(url), RedisJournal(url)
    outbox = Outbox(client)
    told: dict[str, list[str]] = {}

    async def talk() -> None:
        for _ in range(RUNS):
            run_id = new_run_id("acme")
            await journal.create(RunCreated(run_id, "acme", "clerk", "hash", "task"), due_in_s=3_600)
            for status in ("waiting", "succeeded"):
                await tell(client, run_id, hook.url, status)
            told[run_id] = ["run.waiting", "run.succeeded"]
            await asyncio.sleep(0.02)

    try:
        talking = asyncio.create_task(talk())
        for kill in range(KILLS):
            before = len(hook.received)

            async def has_worked(before: int = before, kill: int = kill) -> bool:
                return len(hook.received) > before + kill % 7

            with dispatcher(url, hook.allow):
                await until_worked(has_worked, outbox)
        await talking
        with dispatcher(url, hook.allow):
            await settled(outbox)
        return told, (await outbox.secrets.get("acme")).current
    finally:
        await journal.aclose()
        await client.aclose()


async def until_worked(has_worked: Any, outbox: Outbox) -> None:
    """Wait until the dispatcher is in the middle of its work, or there is none left."""

    async def is_time() -> bool:
        return await has_worked() or await outbox.backlog("acme") == 0

    await eventually(is_time)


async def settled(outbox: Outbox) -> None:
    async with asyncio.timeout(90):
        while await outbox.backlog("acme"):
            await asyncio.sleep(0.05)
