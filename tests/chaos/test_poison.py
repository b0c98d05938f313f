"""A run that kills every worker that takes it up: it ends by itself, and the others do not notice."""

import threading
import time

from .checker import examine
from .conftest import Make
from .figures import record
from .load import posting, settle
from .test_kill_storms import random_plans
from .world import World, size

MAX_LOSSES = 3


def test_a_run_that_kills_its_workers_fails_as_poison_and_harms_no_other_run(make_world: Make) -> None:
    world = make_world(delay_s=0.1)
    world.start_api()
    plans = random_plans(11, size(200, 60)) | {"poison": "crash"}
    over = threading.Event()
    keeper = threading.Thread(target=keep_two_workers, args=(world, over))
    keeper.start()
    try:
        with posting(world, dict(sorted(plans.items(), key=lambda each: each[0] != "poison"))) as posted:
            pass
        settle(world, posted.accepted, 120)
    finally:
        over.set()
        keeper.join(20)
    verdict = examine(world, posted.accepted)
    deaths = sum(not each.is_alive for each in world.workers)
    record(
        "T14 poison", good_runs=len(plans) - 1, statuses=verdict.statuses, workers_killed=deaths,
        in_doubt=verdict.in_doubt, broken=verdict.broken,
    )  # fmt: skip
    assert verdict.broken == {}
    assert verdict.statuses == {"failed(poison)": 1, "succeeded": len(plans) - 1}
    assert deaths <= MAX_LOSSES


def keep_two_workers(world: World, over: threading.Event) -> None:
    """Do what a supervisor does: start a worker for each that died."""
    while not over.is_set():
        while len(world.alive()) < 2:
            world.start_worker()
        time.sleep(0.1)
