"""Find the journal that the settings name: a Redis by URL, else an embedded one, else memory."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

from ..errors import JournalUnavailable, RedisMissing

if TYPE_CHECKING:
    from ..settings import Settings
    from .journal.contract import Journal
    from .journal.redis import RedisJournal
    from .journal.server_check import ServerFacts
    from .server import EmbeddedRedis


class Found(NamedTuple):
    """A Redis journal, the URL that leads to its server, and one line that says where it is."""

    journal: "RedisJournal"
    url: str
    line: str


@asynccontextmanager
async def open_journal(settings: "Settings", *, in_memory: bool = False) -> "AsyncIterator[tuple[Journal, str]]":
    """Yield a journal and one line that says where it is; close it, and a server started for it, afterwards.

    Args:
        settings: URL, durability, retention, folder of the embedded Redis.
        in_memory: Keep nothing.

    Raises:
        JournalUnavailable: The Redis that is named does not answer.
        SettingsInvalid: It cannot give the durability that is asked for.
        RedisMissing: None is named, and no server program was found.
    """
    if in_memory:
        from .journal.in_memory import InMemoryJournal

        yield InMemoryJournal(), "journal in memory, gone afterwards"
        return
    async with open_redis(settings) as found:
        yield with_archive(found.journal, settings), found.line


@asynccontextmanager
async def open_redis(settings: "Settings") -> "AsyncIterator[Found]":
    """Yield the journal in the Redis that is named, or else in an embedded one; errors as in `open_journal`."""
    if not settings.redis_url:
        async with _embedded(settings) as found:
            yield found
        return
    journal = _journal(settings, settings.redis_url)
    try:
        facts = await _connected(journal, settings.redis_url)
        address = address_of(settings.redis_url)
        line = f"journal in Redis {_dotted(facts.version)} at {address} ({settings.durability})"
        yield Found(journal, settings.redis_url, line)
    finally:
        await journal.aclose()


async def start_embedded(settings: "Settings") -> "EmbeddedRedis":
    """Return an embedded Redis that runs, or is shared with the process that runs it.

    Raises:
        RedisMissing: None can be started here, or it cannot give the durability that is asked for.
    """
    from .server import EmbeddedRedis

    if settings.durability != "everysec":
        raise RedisMissing(f"the embedded Redis is everysec only; name a server that can give {settings.durability}")
    server = EmbeddedRedis(settings.data_dir)
    try:
        return await server.start_async()
    except RedisMissing as exc:
        if "--redis" in exc.problem:
            raise
        raise RedisMissing(f"{exc.problem}; --data-dir names another folder, --redis a running server") from exc


@asynccontextmanager
async def _embedded(settings: "Settings") -> "AsyncIterator[Found]":
    server = await start_embedded(settings)
    async with server:
        journal = _journal(settings, server.url)
        try:
            facts = await journal.connect()
            mode = "everysec" if server.is_owner else "everysec; served by another process and gone with it"
            line = f"journal in embedded Redis {_dotted(facts.version)} at {settings.data_dir} ({mode})"
            yield Found(journal, server.url, line)
        finally:
            await journal.aclose()


def _journal(settings: "Settings", url: str) -> "RedisJournal":
    from .journal.redis import RedisJournal

    return RedisJournal(
        url,
        durability=settings.durability,
        retention_s=settings.retention_s,
        archived=settings.archive is not None,
    )


def with_archive(journal: "RedisJournal", settings: "Settings") -> "Journal":
    """Return the journal, with the archive behind it when the settings name one. Raises SettingsInvalid."""
    if settings.archive is None:
        return journal
    from .archive import Archive
    from .archived_journal import ArchivedJournal

    return ArchivedJournal(journal, Archive(settings.archive))


async def _connected(journal: "RedisJournal", url: str) -> "ServerFacts":
    try:
        return await journal.connect()
    except JournalUnavailable as exc:
        advice = f"is Redis running at {address_of(url)}? --redis or LOOPWRIGHT_REDIS_URL names another"
        raise JournalUnavailable(f"{exc.problem}; {advice}") from exc


def address_of(url: str) -> str:
    """Return where a Redis URL leads, without its user, password and options."""
    parts = urlsplit(url)
    return parts.netloc.rpartition("@")[2] or parts.path


def server_facts(journal: "Journal") -> list[str]:
    """Return what the server behind a journal is set to and can do, a line each; empty for a journal in memory."""
    from .journal.redis import RedisJournal

    journal = getattr(journal, "journal", journal)
    if not isinstance(journal, RedisJournal):
        return []
    facts = journal.facts
    lines = [f"{name} {value}" for name, value in sorted(facts.settings.items())]
    vectors = (
        "vector sets" if facts.version[0] >= 8 else "no vector sets (Redis 8 has them): exact search in the worker"
    )
    return [", ".join(lines), vectors, *facts.notes]


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(str(part) for part in version)
