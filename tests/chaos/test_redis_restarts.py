"""Redis is restarted, and killed: workers come back by themselves, and each mode keeps what it says."""

import time
from collections.abc import Callable

from loopwright.planner import events as ev

from .checker import examine, read_journals
from .conftest import Make
from .figures import record
from .load import Posted, posting, settle
from .processes import eventually
from .test_kill_storms import random_plans
from .world import World, size

WORKERS = 2
CONSUMES_WITHIN_S = 30.0
EVERYSEC_LOSES_S = 2.0


def attack(world: World, posted: Posted, total: int, times: int, how: Callable[[], None]) -> None:
    """Do something to Redis and start it again, so many times, evenly over the time in which runs are posted."""
    for nth in range(times):
        goal = (nth + 1) * total // (times + 2)
        eventually(lambda goal=goal: len(posted.accepted) >= goal, 180)  # type: ignore[misc]
        how()
        time.sleep(0.3)
        world.redis.start()


def test_after_clean_restarts_of_redis_every_worker_consumes_again_without_being_restarted(make_world: Make) -> None:
    world = make_world(delay_s=0.05)
    world.start_api()
    workers = [world.start_worker() for _ in range(WORKERS)]
    world.await_workers()
    plans, restarts = random_plans(6, size(600, 120)), size(10, 2)
    slowest = 0.0
    with posting(world, plans, pause_s=size(0.5, 0.2), within_s=300) as posted:
        for nth in range(restarts):
            goal = (nth + 1) * len(plans) // (restarts + 2)
            eventually(lambda goal=goal: len(posted.accepted) >= goal, 180)  # type: ignore[misc]
            world.redis.stop()
            time.sleep(0.3)
            world.redis.start()
            slowest = max(slowest, consuming_again(world, f"r{nth}"))
    settle(world, posted.accepted)
    verdict = examine(world, posted.accepted)
    record(
        "T06 clean restarts of Redis", runs=verdict.runs, restarts=restarts, workers=WORKERS,
        consume_again_s=round(slowest, 1), workers_lost=sum(not each.is_alive for each in workers),
        broken=verdict.broken,
    )  # fmt: skip
    assert verdict.broken == {}
    assert all(each.is_alive for each in workers)
    assert slowest <= CONSUMES_WITHIN_S


def consuming_again(world: World, name: str) -> float:
    """Post runs until every worker has claimed one of them; return how many seconds that took."""
    since = time.monotonic()
    seen: set[str] = set()
    for number in range(1000):
        with posting(world, {f"{name}-{number}-{n}": "look" for n in range(4)}) as posted:
            pass
        settle(world, posted.accepted)
        for stored in read_journals(world.redis_url, posted.accepted).values():
            seen |= {each.event.worker for each in stored if isinstance(each.event, ev.RunClaimed)}
        if len(seen) >= len(world.alive()) or time.monotonic() > since + 2 * CONSUMES_WITHIN_S:
            break
    return time.monotonic() - since if len(seen) >= len(world.alive()) else float("inf")


def test_kills_of_redis_under_always_lose_nothing_acknowledged_and_repeat_no_once_call(make_world: Make) -> None:
    world = make_world(delay_s=0.1, appendfsync="always")
    world.start_api()
    for _ in range(WORKERS):
        world.start_worker(CHAOS_TOOL_S=0.05)
    world.await_workers()
    plans, kills = random_plans(7, size(800, 120)), size(10, 3)
    with posting(world, plans, pause_s=size(0.3, 0.1), within_s=300) as posted:
        attack(world, posted, len(plans), kills, world.redis.kill)
    settle(world, posted.accepted, 90)
    verdict = examine(world, posted.accepted)
    record(
        "T07 kills of Redis, always", runs=verdict.runs, kills=kills, in_doubt=verdict.in_doubt,
        resent_keyed=verdict.resent_keyed, answers=posted.answers, broken=verdict.broken,
    )  # fmt: skip
    assert posted.modes == {"always"}
    assert verdict.broken == {}


def test_kills_of_redis_under_everysec_lose_only_what_is_younger_than_two_seconds(make_world: Make) -> None:
    world = make_world(delay_s=0.1)
    world.start_api()
    for _ in range(WORKERS):
        world.start_worker(CHAOS_TOOL_S=0.05)
    world.await_workers()
    plans, kills = random_plans(8, size(800, 120)), size(10, 3)
    killed_at: list[float] = []

    def kill() -> None:
        killed_at.append(time.monotonic())
        world.redis.kill()

    with posting(world, plans, pause_s=size(0.3, 0.1), within_s=300) as posted:
        attack(world, posted, len(plans), kills, kill)
    settle(world, {each: tag for each, tag in posted.accepted.items() if exists(world, each)}, 90)
    verdict = examine(world, posted.accepted, may_forget=True)
    ages = [min(at - posted.moments[each] for at in killed_at if at > posted.moments[each]) for each in verdict.lost]
    record(
        "T08 kills of Redis, everysec", runs=verdict.runs, kills=kills, lost=len(verdict.lost),
        oldest_lost_s=round(max(ages, default=0.0), 2), once_sent_again=len(verdict.resent_once),
        statuses=verdict.statuses,
    )  # fmt: skip
    assert posted.modes == {"everysec"}
    assert max(ages, default=0.0) <= EVERYSEC_LOSES_S
    assert not {name: found for name, found in verdict.broken.items() if name not in ("lost", "resent_once")}


def exists(world: World, run_id: str) -> bool:
    """Say whether Redis still knows a run."""
    return bool(read_journals(world.redis_url, [run_id]))
