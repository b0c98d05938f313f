"""Workers are killed while they work: nothing acknowledged is lost, nothing that must happen once happens twice."""

import random
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from .checker import examine
from .conftest import Make
from .figures import record
from .load import posting, settle
from .processes import Nursery, eventually
from .rival import VISIBILITY_S, make_app
from .toolbox.sink import noted
from .world import World, open_world, size

TOOLS = ("look", "post", "pay", "wire", "grind", "pay+post", "look+pay")
WORKERS = 2


def random_plans(seed: int, count: int, steps: int = 3) -> dict[str, str]:
    """Return so many runs of random tools."""
    draw = random.Random(seed)
    return {f"s{seed}-{n}": ",".join(draw.choices(TOOLS, k=steps)) for n in range(count)}


def kill_one(world: World, draw: random.Random) -> None:
    """Kill a worker and start another one in its place."""
    draw.choice(world.alive()).kill()
    world.start_worker(CHAOS_TOOL_S=0.02)


@pytest.mark.parametrize("seed", range(size(3, 1)))
def test_a_storm_of_killed_workers_loses_no_run_and_repeats_no_once_call(seed: int, make_world: Make) -> None:
    world = make_world(delay_s=0.15)
    world.start_api()
    draw = random.Random(seed)
    for _ in range(WORKERS):
        world.start_worker(CHAOS_TOOL_S=0.02)
    plans = random_plans(seed, size(2000, 160))
    kills = size(20, 6)
    with posting(world, plans, pause_s=size(0.25, 0.1)) as posted:
        for nth in range(1, kills + 1):
            goal = nth * len(plans) // (kills + 1)
            eventually(lambda goal=goal: len(posted.accepted) >= goal, 120)  # type: ignore[misc]
            time.sleep(draw.uniform(0, 0.4))
            kill_one(world, draw)
    since = time.monotonic()
    settle(world, posted.accepted, 60)
    verdict = examine(world, posted.accepted)
    record(
        f"T01 kill storm, seed {seed}", runs=verdict.runs, kills=kills, statuses=verdict.statuses,
        settled_s=round(time.monotonic() - since, 1), in_doubt=verdict.in_doubt, resent_keyed=verdict.resent_keyed,
        broken=verdict.broken,
    )  # fmt: skip
    assert verdict.broken == {}
    assert set(verdict.statuses) == {"succeeded"}


def test_the_same_storm_on_plain_celery_tasks_loses_or_repeats_work(nursery: Nursery, tmp_path: Path) -> None:
    """The harness bites: what it counts does go wrong where nobody journals."""
    with open_world(tmp_path, nursery) as world, rival_app(world) as app:
        draw, count, kills = random.Random(1), size(2000, 160), size(20, 6)
        start = lambda: world.workers.append(nursery.start("rival", "rival", env=rival_env(world)))  # noqa: E731
        for _ in range(WORKERS):
            start()
        for tag, plan in random_plans(1, count).items():
            app.send_task("rival.run", [tag, plan.split(",")])
        ended = lambda: {each["run"] for each in noted(world.sink) if each["kind"] == "end"}  # noqa: E731
        for nth in range(1, kills + 1):
            goal = nth * count // (kills + 2)
            eventually(lambda goal=goal: len(ended()) >= goal, 120)
            draw.choice(world.alive()).kill()
            start()
        drained, is_drained = QueueDrain(world), True
        try:
            eventually(drained.is_over, 120, 0.5, "the queue is empty")
        except AssertionError:
            is_drained = False
        sends = Counter(each["key"] for each in world.sent())
        lost, repeated = count - len(ended()), sum(n > 1 for n in sends.values())
        record(
            "T01 the same storm on plain Celery", tasks=count, kills=kills, not_done=lost, sent_twice=repeated,
            drained=is_drained,
        )  # fmt: skip
        assert lost + repeated > 0


@contextmanager
def rival_app(world: World) -> Iterator[object]:
    app = make_app(world.redis_url)
    yield app
    app.close()


def rival_env(world: World) -> dict[str, str]:
    return {"RIVAL_URL": world.redis_url, "CHAOS_SINK": str(world.sink)}


class QueueDrain:
    """Says when plain Celery has nothing left to do: no message waits, none is unacknowledged, nothing moves."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._since = time.monotonic()
        self._last = -1

    def is_over(self) -> bool:
        reply = [self._world.redis.command(*each) for each in (("LLEN", "celery"), ("HLEN", "unacked"))]
        now = len(noted(self._world.sink))
        if now != self._last or reply != [b":0\r\n", b":0\r\n"]:
            self._last, self._since = now, time.monotonic()
        return time.monotonic() - self._since > 2 * VISIBILITY_S
