"""Workers that fall asleep and wake up: they find that others have taken over, and leave no trace."""

import signal
import time

from .checker import examine
from .conftest import Make
from .figures import record
from .load import posting, settle
from .processes import eventually
from .test_kill_storms import random_plans
from .world import LEASE_S, size

NAPS = 3


def test_a_worker_that_slept_through_its_leases_appends_nothing_and_sends_nothing_twice(make_world: Make) -> None:
    world = make_world(delay_s=0.2)
    world.start_api()
    workers = [world.start_worker(CHAOS_TOOL_S=0.1) for _ in range(2)]
    world.await_workers()
    plans = random_plans(3, size(200, 90))
    naps = size(6, 2)
    with posting(world, plans, pause_s=size(2.0, 0.8)) as posted:
        for nth in range(naps):
            goal = (nth + 1) * len(plans) // (naps + 2)
            eventually(lambda goal=goal: len(posted.accepted) >= goal, 120)  # type: ignore[misc]
            sleeper = workers[nth % 2]
            before = world.model.count()["chats"]
            sleeper.send(signal.SIGSTOP)
            time.sleep(NAPS * LEASE_S)
            sleeper.send(signal.SIGCONT)
            assert world.model.count()["chats"] > before, "the other worker does the work meanwhile"
    settle(world, posted.accepted)
    verdict = examine(world, posted.accepted)
    record(
        "T03 zombies", runs=verdict.runs, naps=naps, slept_s=NAPS * LEASE_S, in_doubt=verdict.in_doubt,
        resent_keyed=verdict.resent_keyed, broken=verdict.broken,
    )  # fmt: skip
    assert verdict.broken == {}
    assert all(each.is_alive for each in workers), "waking up ends no worker"
