"""Calls of tools that run on other workers: from the run's worker to a tool worker and back, beside the journal.

    run's worker                        {sNN}:run:<id>:c                        tool worker
    register ─► one attempt, not started ─► message through a queue ─► start     (refused to all but the first)
    look     ◄─ sent | started | done                                   beat      (about once a second)
    forget   ─► gone, once the journal has the results                  deposit ◄─ what came of it

| key                | field       | holds                                                            | lives       |
|--------------------|-------------|------------------------------------------------------------------|-------------|
| {sNN}:run:<id>:c   | pending     | calls without a result; at zero the run becomes due              | until final |
|                    | <call>:s    | where the call is, see `lua_remote`                              |             |
|                    | <call>:q    | what the tool worker is told, JSON                               |             |
|                    | <call>:o    | what came of it, JSON                                            |             |

Each attempt is started at most once: `start` is the only way from `sent` to `started`, and it names the attempt. So a
message may be lost, repeated or late. All moments are the server's.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from redis.asyncio import Redis

from ...errors import Fenced, JournalUnavailable
from ..client import translated
from . import lua_remote
from .contract import Durability, Lease
from .ids import shard_of
from .scripts import Keys, Script, keys_of

KEEP_MS = 7 * 86_400_000
"""How long the calls of a run are kept after somebody last touched them."""

_WAIT_MS = 2_000
"""How long `start` waits for a replica in mode `replicated`."""


@dataclass(frozen=True, slots=True)
class Registered:
    """A call as it is registered: `request` is what the tool worker is told, `left_ms` the time the run has left."""

    call_id: str
    attempt: int
    request: str
    left_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Whereabouts:
    """Where a call is.

    Attributes:
        state: `sent`: nobody has started it. `started`: a tool worker has. `done`: its outcome is here.
        attempt: The attempt that this is said of.
        since_ms: Milliseconds since it was last sent, or was done.
        alive_ms: Milliseconds for which the tool worker is still believed alive; below zero: it is silent.
        sends: How often a message was sent for this attempt.
        outcome: What came of it, as the tool worker wrote it.
    """

    state: Literal["sent", "started", "done"]
    attempt: int
    since_ms: int = 0
    alive_ms: int = 0
    sends: int = 1
    outcome: str = ""


@dataclass(frozen=True, slots=True)
class Started:
    """What a tool worker is told about the call that it may make now."""

    request: str
    left_ms: int | None


class RemoteCalls:
    """The transitions of remote calls, on one Redis.

    Args:
        client: Redis; replies are bytes.
        durability: The journal's mode: when it is `replicated`, a call counts as started once a replica knows it.
    """

    def __init__(self, client: Redis, *, durability: Durability = "everysec") -> None:
        made: Any = client
        self._client = made
        self._replicated = durability == "replicated"
        names = ("REGISTER", "LOOK", "FORGET", "START", "BEAT", "DEPOSIT")
        self._scripts = {
            name: made.register_script(Script(name.lower(), getattr(lua_remote, name)).text) for name in names
        }

    async def register(self, lease: Lease, calls: Sequence[Registered]) -> None:
        """Note calls that are about to be sent, or sent again; one that was started stays as it is.

        Raises:
            Fenced: The lease is superseded or the run is final.
            JournalUnavailable: Redis gave no answer; a retry is safe.
        """
        told = [
            part
            for each in calls
            for part in (each.call_id, each.attempt, "" if each.left_ms is None else each.left_ms, each.request)
        ]
        run, kept = _keys(lease.run_id)
        if await self._run("REGISTER", (run.run, kept), lease.epoch, lease.token, KEEP_MS, *told) == b"fenced":
            raise Fenced(run_id=lease.run_id, epoch=lease.epoch)

    async def look(self, lease: Lease, call_ids: Sequence[str]) -> dict[str, Whereabouts]:
        """Return where these calls are, those that are known; all others of the run are forgotten.

        Raises:
            Fenced: The lease is superseded.
            JournalUnavailable: Redis gave no answer.
        """
        run, kept = _keys(lease.run_id)
        reply = await self._run("LOOK", (run.run, kept), lease.epoch, lease.token, KEEP_MS, *call_ids)
        if reply is None:
            raise Fenced(run_id=lease.run_id, epoch=lease.epoch)
        now, rows = int(reply[0]), reply[1:]
        return {
            call_id: _whereabouts(now, line.decode(), outcome.decode())
            for call_id, line, outcome in zip(call_ids, rows[::2], rows[1::2], strict=True)
            if line
        }

    async def forget(self, lease: Lease) -> None:
        """Forget all calls of a run, once the journal has their results; nothing happens without the lease."""
        run, kept = _keys(lease.run_id)
        await self._run("FORGET", (run.run, kept), lease.epoch, lease.token)

    async def start(self, run_id: str, call_id: str, attempt: int, token: str, *, ttl_s: float) -> Started | None:
        """Take a call that nobody has started; `None`: it is not to be made (any more).

        Args:
            run_id: The run.
            call_id: The call.
            attempt: The attempt that the message names.
            token: Random, names this execution; the same one may ask again.
            ttl_s: Seconds for which the caller is believed alive without a beat.

        Raises:
            JournalUnavailable: Redis gave no answer, or no replica has confirmed; the call must not be made.
        """
        run, kept = _keys(run_id)
        arguments = (run_id, call_id, attempt, token, int(ttl_s * 1000))
        send = self._run_replicated if self._replicated else self._run
        reply = await send("START", (run.run, kept, run.due), *arguments)
        if reply[0] != b"started":
            return None
        return Started(reply[1].decode(), int(reply[2]) if reply[2] else None)

    async def beat(self, run_id: str, call_id: str, token: str, *, ttl_s: float) -> bool:
        """Say that the call is still being made; return whether it shall go on.

        Raises:
            JournalUnavailable: Redis gave no answer.
        """
        run, kept = _keys(run_id)
        ttl_ms = int(ttl_s * 1000)
        reply = await self._run("BEAT", (run.run, kept, run.due), run_id, call_id, token, ttl_ms, KEEP_MS)
        return bool(reply == b"alive")

    async def deposit(self, run_id: str, call_id: str, token: str, outcome: str) -> str | None:
        """Leave what came of a call. A repeated deposit changes nothing.

        Returns:
            The priority of the run when this was the last result that it waits for, else `None`.

        Raises:
            JournalUnavailable: Redis gave no answer; a retry is safe.
        """
        run, kept = _keys(run_id)
        reply = await self._run("DEPOSIT", (run.run, kept, run.due), run_id, call_id, token, outcome, KEEP_MS)
        return reply[1].decode() if reply[0] == b"ready" else None

    async def artifact(self, run_id: str, artifact_id: str) -> str | None:
        """Return an artifact of the run, or `None`. Raises JournalUnavailable."""
        async with translated():
            found = await self._client.hget(_keys(run_id)[0].artifacts, artifact_id)
        return None if found is None else str(found.decode())

    async def _run(self, name: str, keys: Sequence[str], *arguments: Any) -> Any:
        async with translated():
            return await self._scripts[name](keys=keys, args=arguments)

    async def _run_replicated(self, name: str, keys: Sequence[str], *arguments: Any) -> Any:
        """Run a script and have it confirmed by a replica, on the same connection."""
        async with translated(), self._client.pipeline(transaction=False) as pipe:
            await self._scripts[name](keys=keys, args=arguments, client=pipe)
            pipe.wait(1, _WAIT_MS)
            reply, replicas = await pipe.execute()
        if replicas < 1:
            raise JournalUnavailable("no replica has confirmed the start of a call in time")
        return reply


def _keys(run_id: str) -> tuple[Keys, str]:
    keys = keys_of(shard_of(run_id), run_id)
    return keys, f"{keys.run}:c"


def _whereabouts(now_ms: int, line: str, outcome: str) -> Whereabouts:
    attempt, state, _token, moment, sends, _deadline = line.split(" ")
    passed = now_ms - int(moment)
    if state == "started":
        return Whereabouts("started", int(attempt), alive_ms=-passed, sends=int(sends))
    return Whereabouts("done" if state == "done" else "sent", int(attempt), passed, 0, int(sends), outcome)
