"""The archive: finished runs as compressed files, written before they leave Redis, and read back when asked for.

One file per run, `<tenant>/<YYYY-MM>/<run_id>.jsonl.gz` by the month of the run's creation in UTC. Its lines are JSON:
the head with the run's summary, the events with their ids, the artifacts. A file appears whole or not at all, and
writing it again gives the same file: so any number of workers may archive at once and be killed anywhere.
"""

import asyncio
import gzip
import random
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import asdict
from functools import partial
from typing import Any
from urllib.parse import quote, unquote

import structlog
from pydantic_core import from_json, to_json

from ..errors import JournalCorrupt, JournalUnavailable, RunNotFound
from ..planner.events import decode, encode
from .archive_places import Place, place_of
from .journal.contract import Journal, RunRecord, Snapshot, Stored
from .journal.ids import created_ms_of, shard_of, shard_of_tenant

_log = structlog.get_logger(__name__)

FORMAT = "loopwright.archive/1"

LISTED_S = 7 * 86_400.0
"""How long the summary of an archived run stays in Redis for lists, in seconds. By its id it is found for ever."""

_AT_ONCE = 8
"""How many runs one sweep archives at the same time."""

_KNOWN_S = 10.0
"""How long the archive's list of tenants is believed, in seconds."""


class Archive:
    """Finished runs in a folder, or wherever an fsspec URL leads.

    Args:
        url: Path of a folder, or a URL such as `s3://bucket/runs`.
        monotonic: Seconds that only grow.

    Raises:
        SettingsInvalid: No such URL can be used.
    """

    def __init__(self, url: str, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._place: Place = place_of(url)
        self._monotonic = monotonic
        self._tenants: dict[int, list[str]] = {}
        self._listed_at: float | None = None
        self._listing = asyncio.Lock()

    async def write(self, whole: Snapshot) -> None:
        """Store a finished run, for good when this returns.

        Raises:
            JournalUnavailable: The file could not be written.
        """
        name = _name(whole.record.tenant, whole.record.run_id)
        await self._do(lambda: self._place.put(name, pack(whole)))

    async def read(self, run_id: str, *, tenant: str | None = None) -> Snapshot:
        """Return a run from its file; naming the tenant saves looking for it.

        Raises:
            RunNotFound: There is no such file.
            JournalCorrupt: The file is damaged.
            JournalUnavailable: The archive does not answer.
        """
        folders = [_folder(tenant)] if tenant is not None else await self._folders(shard_of(run_id))
        for folder in folders:
            data = await self._do(partial(self._place.get, f"{folder}/{_file(run_id)}"))
            if data is not None:
                return unpack(data)
        raise RunNotFound(run_id=run_id)

    async def _folders(self, shard: int) -> list[str]:
        """Return the folders of the tenants that may own a run of the shard."""
        async with self._listing:
            now = self._monotonic()
            if self._listed_at is None or now - self._listed_at > _KNOWN_S:
                found: dict[int, list[str]] = {}
                for folder in await self._do(self._place.folders):
                    found.setdefault(shard_of_tenant(_tenant(folder)), []).append(folder)
                self._tenants, self._listed_at = found, now
        return self._tenants.get(shard, [])

    async def _do(self, work: Callable[[], Any]) -> Any:
        try:
            return await asyncio.to_thread(work)
        except Exception as exc:  # a border: every file system of fsspec has errors of its own
            raise JournalUnavailable(f"the archive fails ({type(exc).__name__}: {exc})") from exc


async def sweep(
    journal: Journal,
    archive: Archive,
    retention_s: float | None,
    *,
    limit: int = 200,
    listed_s: float = LISTED_S,
    now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
) -> int:
    """Move finished runs whose time is over from the journal to the archive; safe to do twice, and at once.

    Args:
        journal: Where they are.
        archive: Where they go.
        retention_s: How long a finished run stays in the journal, in seconds; `None`: for ever.
        limit: How many at most; call again at once while that many were moved.
        listed_s: How long their summaries stay in the journal, in seconds.
        now_ms: The clock.

    Returns:
        How many were moved or found to be gone.

    Raises:
        JournalUnavailable: Journal or archive gave no answer; what was not moved is still in the journal.
    """
    if retention_s is None:
        return 0
    names = await journal.list_ended(now_ms() - int(retention_s * 1000), limit)
    random.shuffle(names)  # several workers begin at different ends
    queue = iter(names)

    async def carry() -> int:
        return sum([await _move(journal, archive, run_id, listed_s) for run_id in queue])

    return sum(await asyncio.gather(*(carry() for _ in range(_AT_ONCE))))


async def _move(journal: Journal, archive: Archive, run_id: str, listed_s: float) -> bool:
    """Archive a run, then delete it. The copy is of one moment, so nobody's deletion leaves half a file."""
    try:
        whole = await journal.snapshot(run_id)
    except RunNotFound:
        await journal.delete(run_id, listed_s=listed_s)  # somebody moved it: at most its place in the list is left
        return True
    except JournalCorrupt as exc:
        _log.error("archive_run_corrupt", run_id=run_id, problem=exc.problem)
        return False
    await archive.write(whole)
    await journal.delete(run_id, listed_s=listed_s)
    return True


def pack(whole: Snapshot) -> bytes:
    """Return the file of a run: the same bytes for the same run."""
    return gzip.compress(b"\n".join(_lines(whole)) + b"\n", compresslevel=6, mtime=0)


def _lines(whole: Snapshot) -> Iterator[bytes]:
    yield to_json({"format": FORMAT, "run": asdict(whole.record)})
    for each in whole.events:
        yield b'{"id":%s,"event":%s}' % (to_json(each.id), encode(each.event))
    for name, text in sorted(whole.artifacts.items()):
        yield to_json({"artifact": name, "text": text})


def unpack(data: bytes) -> Snapshot:
    """Return the run in a file. Raises JournalCorrupt."""
    try:
        head, *rest = gzip.decompress(data).splitlines()
        first = from_json(head)
        if first["format"] != FORMAT:
            raise JournalCorrupt(f"an archived run has the unknown format {first['format']!r}")
        record = RunRecord(**{**first["run"], "archived": True})
        events: list[Stored] = []
        artifacts: dict[str, str] = {}
        for line in rest:
            if line.startswith(b'{"id":'):
                event_id, _, event = line[6:-1].partition(b',"event":')
                events.append(Stored(from_json(event_id), decode(event)))
            else:
                piece = from_json(line)
                artifacts[piece["artifact"]] = piece["text"]
    except (ValueError, KeyError, TypeError, EOFError, OSError, zlib.error) as exc:
        raise JournalCorrupt(f"an archived run cannot be read ({type(exc).__name__}: {exc})") from exc
    return Snapshot(record, tuple(events), artifacts)


def _name(tenant: str, run_id: str) -> str:
    return f"{_folder(tenant)}/{_file(run_id)}"


def _folder(tenant: str) -> str:
    """Return the tenant's folder: its name, with what could lead elsewhere escaped."""
    return quote(tenant, safe="").replace(".", "%2E")


def _tenant(folder: str) -> str:
    return unquote(folder)


def _file(run_id: str) -> str:
    month = time.strftime("%Y-%m", time.gmtime(created_ms_of(run_id) / 1000))
    return f"{month}/{run_id}.jsonl.gz"
