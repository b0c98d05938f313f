"""Move finished runs to the archive, a minute or so apart; every worker does, without a leader."""

import asyncio
import random
from typing import TYPE_CHECKING

import structlog

from ..errors import LoopwrightError
from ..memory.archive import sweep

if TYPE_CHECKING:
    from ..memory.store import Store
    from ..settings import Settings

EVERY_S = 60.0
"""Seconds between two sweeps, about; less when runs stay shorter than that."""

AT_ONCE = 200
"""Runs of one sweep; when there are as many, the next one follows at once."""

_log = structlog.get_logger(__name__)


async def run_archiver(store: "Store", settings: "Settings") -> None:
    """Archive until cancelled; returns at once when there is no archive, or runs stay in Redis for ever."""
    if store.archive is None or settings.retention_s is None:
        return
    while True:
        await asyncio.sleep(min(EVERY_S, settings.retention_s) * random.uniform(0.5, 1.0))
        try:
            while await sweep(store.journal, store.archive, settings.retention_s, limit=AT_ONCE) >= AT_ONCE:
                pass
        except LoopwrightError as exc:
            _log.warning("archive_sweep_failed", problem=str(exc))
