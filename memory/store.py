"""Everything that the service keeps, on one Redis: the journal, and the stores beside it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from redis.asyncio import Redis

from .archive import Archive
from .archived_journal import ArchivedJournal
from .client import make_client
from .connect import open_redis, with_archive
from .journal.contract import Journal
from .keys import Keys
from .live import LiveFeed
from .metrics import Metrics
from .outbox import Outbox
from .pepper import Pepper
from .presence import Presence
from .rate_limit import RateLimits
from .schedules import Schedules
from .threads import Threads

if TYPE_CHECKING:
    from ..settings import Settings


@dataclass(slots=True)
class Store:
    """What the service keeps.

    Attributes:
        journal: The runs.
        threads: Conversations.
        keys: API keys.
        limits: How often each key may ask.
        metrics: Counts of all processes.
        schedules: Tasks that are submitted again and again.
        outbox: Webhooks that are owed.
        live: What nobody keeps, such as text while it is written.
        presence: Which workers are there.
        archive: Where finished runs go, if anywhere; the journal answers for them.
        client: Shared by the stores beside the journal; replies are bytes. Errors: `client.translated`.
        url: Leads to the Redis of all of them.
    """

    journal: Journal
    threads: Threads
    keys: Keys
    limits: RateLimits
    metrics: Metrics
    schedules: Schedules
    outbox: Outbox
    live: LiveFeed
    presence: Presence
    archive: Archive | None
    client: Redis
    url: str


@asynccontextmanager
async def open_store(settings: "Settings") -> AsyncIterator[Store]:
    """Yield the stores on the Redis that the settings name, or on an embedded one; close them afterwards.

    Raises:
        JournalUnavailable: The Redis that is named does not answer.
        SettingsInvalid: It cannot give the durability that is asked for.
        RedisMissing: None is named, and no server program was found.
    """
    async with open_redis(settings) as found:
        journal = with_archive(found.journal, settings)
        client = make_client(found.url)
        live = LiveFeed(client)
        try:
            yield Store(
                journal=journal,
                threads=Threads(client, retention_s=settings.retention_s),
                keys=Keys(client, Pepper.of(settings)),
                limits=RateLimits(client),
                metrics=Metrics(client),
                schedules=Schedules(client),
                outbox=Outbox(client),
                live=live,
                presence=Presence(client),
                archive=journal.archive if isinstance(journal, ArchivedJournal) else None,
                client=client,
                url=found.url,
            )
        finally:
            await live.aclose()
            await client.aclose()
