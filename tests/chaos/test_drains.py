"""Workers that are told to end hand their runs over; a deployment costs nobody anything."""

import random
import signal
import time

from loopwright.planner import events as ev

from .checker import Journals, examine, read_journals
from .conftest import Make
from .figures import percentile, record
from .load import posting, settle
from .processes import eventually
from .test_kill_storms import random_plans
from .world import size

GRACE_S = 10.0
EXITS_WITHIN_S = 12.0
NEXT_OWNER_S = 2.0
MEANT_TO_STAY = 2


def test_workers_that_are_told_to_end_hand_over_every_run_in_time(make_world: Make) -> None:
    world = make_world(delay_s=0.3)
    world.start_api()
    draw = random.Random(10)
    start = lambda: world.start_worker(CHAOS_TOOL_S=0.1, LOOPWRIGHT_GRACE_S=GRACE_S)  # noqa: E731
    for _ in range(MEANT_TO_STAY):
        start()
    plans, drains = random_plans(10, size(1500, 120)), size(50, 5)
    exits: list[float] = []
    with posting(world, plans, pause_s=size(0.4, 0.2)) as posted:
        for nth in range(drains):
            goal = (nth + 1) * len(plans) // (drains + 1)
            eventually(lambda goal=goal: len(posted.accepted) >= goal, 120)  # type: ignore[misc]
            leaving = draw.choice(world.alive())
            start()
            world.await_workers()
            since = time.monotonic()
            leaving.send(signal.SIGTERM)
            assert leaving.wait(GRACE_S + EXITS_WITHIN_S) == 0, leaving.tail()
            exits.append(time.monotonic() - since)
    settle(world, posted.accepted)
    verdict = examine(world, posted.accepted)
    waits = hand_overs(read_journals(world.redis_url, posted.accepted))
    record(
        "T13 drains", runs=verdict.runs, drains=drains, slowest_exit_s=round(max(exits), 2), handed_over=len(waits),
        next_owner_p99_s=percentile(waits, 0.99), in_doubt=verdict.in_doubt, broken=verdict.broken,
    )  # fmt: skip
    assert verdict.broken == {}
    assert set(verdict.statuses) == {"succeeded"}
    assert max(exits) <= EXITS_WITHIN_S
    assert waits, "some run was handed over"
    assert percentile(waits, 0.99) <= NEXT_OWNER_S
    assert verdict.in_doubt == 0 and verdict.resent_keyed == 0, "a drain interrupts no call"


def hand_overs(journals: Journals) -> list[float]:
    """Return for each hand-over how many seconds it took until the run had its next owner."""
    found = []
    for stored in journals.values():
        released = None
        for each in stored:
            if isinstance(each.event, ev.RunReleased) and each.event.reason == "drain":
                released = each.at_ms
            elif isinstance(each.event, ev.RunClaimed) and released is not None:
                found.append((each.at_ms - released) / 1000)
                released = None
    return found
