"""Die at a named place, as often as a test says: lives in the tests' own processes, never in the product.

`CHAOS_DIE` names the place and `CHAOS_DEATHS` a folder of tokens: each death takes one away, and when none is left
the place is passed alive. Processes in which a worker drives a suspect alone get theirs by `site/sitecustomize.py`.
"""

import asyncio
import os
import signal
from pathlib import Path
from typing import Any


def die_at(place: str) -> None:
    """Kill this process here, if that is what the test wants."""
    if os.environ.get("CHAOS_DIE") != place:
        return
    for token in sorted(Path(os.environ["CHAOS_DEATHS"]).iterdir()):
        try:
            token.unlink()
        except FileNotFoundError:
            continue
        os.kill(os.getpid(), signal.SIGKILL)


def install() -> None:
    """Put the places of the journal into this process: before and behind each event on its way to Redis."""
    if "CHAOS_DIE" not in os.environ:
        return
    from loopwright.memory.journal.redis import RedisJournal

    append, barrier, claim = RedisJournal.append, RedisJournal.barrier, RedisJournal.claim
    ending: set[asyncio.Task[Any]] = set()
    marked: set[str] = set()

    def appending(self: Any, lease: Any, *events: Any, **kept: Any) -> None:
        for name in map(name_of, events):
            die_at(f"before {name}")
        append(self, lease, *events, **kept)
        if os.environ["CHAOS_DIE"] in {f"behind {name}" for name in map(name_of, events)}:
            marked.add(lease.run_id)
            ending.add(asyncio.get_running_loop().create_task(passing(self, lease)))

    async def passing(self: Any, lease: Any, **how: Any) -> Any:
        """Die when what was marked is stored, before anybody who waited for it goes on."""
        try:
            return await barrier(self, lease, **how)
        finally:  # also when the lease is gone, as it is behind the final event
            if lease.run_id in marked:
                marked.discard(lease.run_id)
                die_at(os.environ["CHAOS_DIE"])

    async def claiming(self: Any, *given: Any, **named: Any) -> Any:
        claimed = await claim(self, *given, **named)
        die_at("behind run.claimed")
        return claimed

    RedisJournal.append, RedisJournal.barrier, RedisJournal.claim = appending, passing, claiming  # type: ignore


def name_of(event: Any) -> str:
    """Return what a place calls an event: its type, and `answer` for the step that ends a run."""
    return "answer" if event.type == "step.decided" and event.answer is not None else str(event.type)
