"""Everything that the service keeps, on one Redis: the journal, and the stores beside it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from redis.asyncio import Redis

from .client import make_client
from .connect import open_redis
from .journal.contract import Journal

if TYPE_CHECKING:
    from ..settings import Settings


@dataclass(slots=True)
class Store:
    """What the service keeps.

    Attributes:
        journal: The runs.
        client: Shared by the stores beside the journal; replies are bytes. Errors: `client.translated`.
        url: Leads to the Redis of all of them.
    """

    journal: Journal
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
        client = make_client(found.url)
        try:
            yield Store(journal=found.journal, client=client, url=found.url)
        finally:
            await client.aclose()
