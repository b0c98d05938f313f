"""Fire schedules: every worker looks once a second, and each moment makes one run whoever fires it.

A firing is a submission under the idempotency key `schedule:<id>:<moment>`, so two workers that fire the same moment,
or one that dies behind the submission and another that takes over, make one run. Then what came of it is written
down together with the next moment. Moments that passed while nothing ran are made up for once.
"""

import asyncio
import random
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import structlog
from pydantic import ValidationError

from ..api.caller import Caller
from ..api.models import RunRequest
from ..api.service import Doorbell, Service
from ..api.submit import submit
from ..errors import AgentNotFound, ForOperator, LoopwrightError, ScheduleInvalid
from ..memory.schedules import Due, Fired
from .cron import next_moment_ms

if TYPE_CHECKING:
    from ..agents.registry import Registry
    from ..memory.store import Store
    from ..settings import Settings

_log = structlog.get_logger(__name__)

TICK_S = 1.0
AT_ONCE = 20
"""Firings that one look takes."""

MAX_LOOKS = 25
"""Looks without a rest, when each finds as much as it can take: so a tenant with a thousand schedules for the same
minute holds up those of others by seconds, not by a minute."""

RETRY_S = 5.0
"""When a firing is tried again that the store could not take, in seconds."""

ELSEWHERE_S = 30.0
"""For how long a firing is left to other workers because this one does not know the agent, in seconds."""


async def run_scheduler(
    store: "Store", registry: "Registry", doorbell: Doorbell, settings: "Settings", stop: asyncio.Event
) -> None:
    """Fire what is due, once a second, until `stop` is set."""
    service = Service(settings=settings, registry=registry, store=store, doorbell=doorbell)
    while not stop.is_set():
        try:
            for _ in range(MAX_LOOKS):
                if await tick(service) < AT_ONCE or stop.is_set():
                    break
        except LoopwrightError as exc:
            _log.warning("schedules_unavailable", problem=str(exc))
        with suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), TICK_S * random.uniform(0.75, 1.25))


async def tick(service: Service) -> int:
    """Fire what is due now; return how many firings were taken.

    Raises:
        JournalUnavailable: Redis gave no answer; what was taken is due again after a while.
    """
    taken = await service.store.schedules.due(AT_ONCE)
    await asyncio.gather(*(_see_to(service, each) for each in taken))
    return len(taken)


async def _see_to(service: Service, due: Due) -> None:
    """Fire, and write down what came of it; what goes wrong on the way is tried again, after the hold at the latest."""
    facts = {"tenant": due.tenant, "schedule_id": due.id, "moment_ms": due.moment_ms}
    schedules = service.store.schedules
    try:
        what = await _fire(service, due)
        if what is None:
            await schedules.postpone(due, random.uniform(0.5, 2.0))
        elif await schedules.fired(due, what, _following(due)):
            _log.info("schedule_fired", **facts, run_id=what.run_id, problem=what.problem)
    except ForOperator as exc:
        _log.warning("schedule_postponed", **facts, problem=str(exc))
        with suppress(ForOperator):
            await schedules.postpone(due, RETRY_S)
    except Exception:
        _log.exception("schedule_crashed", **facts)


async def _fire(service: Service, due: Due) -> Fired | None:
    """Submit; return what came of it, or `None` where another worker may know better. Raises ForOperator."""
    try:
        return await _submitted(service, due)
    except ForOperator:
        raise
    except LoopwrightError as exc:
        if isinstance(exc, AgentNotFound) and due.now_ms - due.moment_ms < ELSEWHERE_S * 1000:
            return None
        return Fired(due.moment_ms, problem=str(exc))


async def _submitted(service: Service, due: Due) -> Fired:
    caller = Caller(due.tenant, f"schedule:{due.id}", frozenset({"runs"}))
    request = request_of(due.run)
    done, _ = await submit(service, caller, request, idempotency_key=f"schedule:{due.id}:{due.moment_ms}")
    return Fired(due.moment_ms, run_id=done.run_id)


def request_of(stored: Any) -> RunRequest:
    """Return the request that a schedule submits.

    Raises:
        ScheduleInvalid: What was stored is no request any more.
    """
    try:
        return RunRequest.model_validate(stored, strict=False)
    except ValidationError as exc:
        first = exc.errors(include_url=False, include_input=False)[0]
        raise ScheduleInvalid(".".join(("run", *map(str, first["loc"]))), first["msg"]) from exc


def _following(due: Due) -> int | None:
    """Return the first moment that has not passed yet, or `None` where the zone or the expression is not known now."""
    try:
        return next_moment_ms(due.cron, due.timezone, max(due.now_ms, due.moment_ms))
    except ScheduleInvalid as exc:
        _log.warning("schedule_ended", tenant=due.tenant, schedule_id=due.id, problem=str(exc))
        return None
