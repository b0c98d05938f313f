"""Celery messages are hints: repeating, shuffling or losing them changes nothing but the moment."""

import signal
from collections import Counter

from loopwright.planner import events as ev

from .checker import Journals, examine, read_journals
from .conftest import Make
from .figures import percentile, record
from .load import posting, settle
from .processes import eventually
from .queue_nemesis import QueueNemesis
from .test_kill_storms import random_plans
from .world import LEASE_S, World, size

WORKERS = 2
AT_ONCE = 8


def test_wake_ups_that_come_five_times_in_any_order_cost_no_call_and_no_completion(make_world: Make) -> None:
    world = make_world(delay_s=0.02)
    world.start_api()
    plans = random_plans(4, size(1000, 150))
    with posting(world, plans) as posted:
        pass
    nemesis = QueueNemesis(world.redis_url)
    published = nemesis.multiply(5)
    nemesis.close()
    for _ in range(WORKERS):
        world.start_worker()
    settle(world, posted.accepted, 120)
    verdict = examine(world, posted.accepted)
    extra_calls, extra_completions = surplus(world, posted.accepted, plans)
    record(
        "T04 wake-ups five times, shuffled", runs=verdict.runs, wake_ups=published, extra_calls=extra_calls,
        extra_completions=extra_completions, broken=verdict.broken,
    )  # fmt: skip
    assert published >= 5 * len(plans)
    assert verdict.broken == {}
    assert (extra_calls, extra_completions) == (0, 0)


def surplus(world: World, accepted: dict[str, str], plans: dict[str, str]) -> tuple[int, int]:
    """Return how many calls were sent and completions asked for that the plans do not need."""
    sent = Counter(accepted[each["run"]] for each in world.sent())
    asked = {tag: len(each) for tag, each in world.model.seen().items()}
    calls = sum(sent[tag] - len(plan.replace("+", ",").split(",")) for tag, plan in plans.items())
    return calls, sum(asked[tag] - len(plan.split(",")) - 1 for tag, plan in plans.items())


def test_wake_ups_that_are_lost_delay_a_run_by_no_more_than_a_lease_and_five_seconds(make_world: Make) -> None:
    world = make_world(delay_s=0.1)
    world.start_api()
    for _ in range(WORKERS):
        world.start_worker()
    plans = random_plans(5, size(1000, 150))
    nemesis = QueueNemesis(world.redis_url)
    drops, lost = 5, 0
    with posting(world, plans, pause_s=0.05) as posted:
        for nth in range(drops):
            goal = (nth + 1) * len(plans) // (drops + 2)
            eventually(lambda goal=goal: len(posted.accepted) >= goal, 120, 0.01)  # type: ignore[misc]
            lost += drop_some(world, nemesis)
    nemesis.close()
    settle(world, posted.accepted, 120)
    verdict = examine(world, posted.accepted)
    lags = starts(read_journals(world.redis_url, posted.accepted))
    record(
        "T05 lost wake-ups", runs=verdict.runs, drops=drops, wake_ups_lost=lost, start_p50_s=percentile(lags, 0.5),
        start_p99_s=percentile(lags, 0.99), broken=verdict.broken,
    )  # fmt: skip
    assert lost > 0
    assert verdict.broken == {}
    assert percentile(lags, 0.99) <= LEASE_S + 5


def drop_some(world: World, nemesis: QueueNemesis) -> int:
    """Lose the wake-ups of some runs that are posted while no worker looks; return how many."""
    for worker in world.workers:
        worker.send(signal.SIGSTOP)
    eventually(lambda: nemesis.waiting() >= AT_ONCE, 20, 0.005, "wake-ups wait")
    lost = nemesis.drop()
    for worker in world.workers:
        worker.send(signal.SIGCONT)
    return lost


def starts(journals: Journals) -> list[float]:
    """Return for each run how many seconds it waited for its first claim."""
    found = []
    for stored in journals.values():
        first = next(each.at_ms for each in stored if isinstance(each.event, ev.RunClaimed))
        found.append((first - stored[0].at_ms) / 1000)
    return found
