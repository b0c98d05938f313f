"""Runs that wait for runs: a parent sleeps while the agent it called waits, and each minds the other's end.

A child that is taken up while its parent sleeps is driven like any other run. Its end makes the parent due; the
parent's end, however it came, is the child's end too.
"""

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING

from ..errors import LoopwrightError, RunBusy, RunNotFound
from ..memory.journal.contract import Journal
from . import events as ev

if TYPE_CHECKING:
    from .loop import RunLoop

PARENT_ENDED = "parent_ended"
"""Why a run is cancelled whose parent has ended."""

WAKE_LEASE_S = 10.0
"""Seconds for which a parent is held while it is made due."""

WAKE_S = 2.0
"""Seconds for which that is tried while somebody else holds it."""

_POLL_S = 0.05


async def is_orphan(loop: "RunLoop") -> bool:
    """Return whether a run that is driven by itself belongs to a parent that has ended."""
    above = loop.state.created.parent_run
    if above is None or loop.is_nested:
        return False
    try:
        return (await loop.around.journal.record(above)).status in ev.FINAL
    except RunNotFound:
        return True


async def see_to_family(loop: "RunLoop") -> None:
    """Once a run has ended: cancel what it waited for, and make the run due that waits for it.

    Neither may fail the run, which has ended: children find out by themselves, and parents look now and then.
    """
    journal = loop.around.journal
    for child in loop.state.awaited:
        with contextlib.suppress(LoopwrightError):
            await journal.request_cancel(child, PARENT_ENDED)
    above = loop.state.created.parent_run
    if above is not None and not loop.is_nested:
        with contextlib.suppress(LoopwrightError):
            await _wake(journal, above)


async def see_to_awaited(loop: "RunLoop") -> None:
    """Once a run sleeps: make it due if a run that it waits for has ended meanwhile, which nobody told it awake.

    Whoever ends later sees the other: a child looks for a sleeping parent behind its end, a parent for children that
    have ended behind its falling asleep.
    """
    journal = loop.around.journal
    with contextlib.suppress(LoopwrightError):
        for child in loop.state.awaited:
            if (await journal.record(child)).status in ev.FINAL:
                await _wake(journal, loop.lease.run_id)
                return


async def _wake(journal: Journal, run_id: str) -> None:
    give_up = time.monotonic() + WAKE_S
    while (await journal.record(run_id)).status == "waiting":
        try:
            claim = await journal.claim(run_id, "child", ttl_s=WAKE_LEASE_S)
        except RunBusy:
            if time.monotonic() >= give_up:
                raise
            await asyncio.sleep(_POLL_S)
        else:
            journal.append(claim.lease, ev.RunReleased("child_ended"))
            await journal.release(claim.lease)
            return
