"""A dispatcher in a process of its own, to be killed: `dispatch_process.py REDIS_URL ALLOW HOLD_S`."""

import asyncio
import sys

import structlog

from loopwright.memory.client import make_client
from loopwright.memory.journal.redis import RedisJournal
from loopwright.memory.outbox import Outbox
from loopwright.settings import load_settings
from loopwright.workers.webhooks import Dispatcher


async def main(url: str, allow: str, hold_s: float) -> None:
    client, journal = make_client(url), RedisJournal(url)
    outbox = Outbox(client, hold_s=hold_s)
    dispatcher = Dispatcher(
        outbox, journal, load_settings(webhook_allow=allow), delays_s=(0.05,) * 50, poll_s=0.05, timeout_s=0.8
    )
    print("ready", flush=True)
    await dispatcher.run(asyncio.Event())


if __name__ == "__main__":
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))  # nobody reads the pipe after "ready"
    asyncio.run(main(sys.argv[1], sys.argv[2], float(sys.argv[3])))
