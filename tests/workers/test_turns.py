"""A tenant that fills a worker makes room for others, and only then."""

import asyncio
import signal
from pathlib import Path

import pytest

from loopwright.memory.journal.ids import new_run_id
from loopwright.planner import events as ev
from loopwright.workers.doorbell import LANES, lane_of
from loopwright.workers.turns import to_go

from ..servers import RedisServer
from .support import desk, eventually, shop, task

TENANTS = {lane: next(f"t{n}" for n in range(999) if lane_of(new_run_id(f"t{n}")) == lane) for lane in range(LANES)}
"""A tenant for each lane."""


def runs(**lanes: int) -> list[str]:
    """Return run ids: `a=3` makes three of the first lane, `b` is the second and so on."""
    return [new_run_id(TENANTS["abcdefgh".index(name)]) for name, number in lanes.items() for _ in range(number)]


@pytest.mark.parametrize(
    ("running", "waiting", "slots", "expected"),
    [
        ({"a": 8}, {1: 1}, 8, {0: 1}),
        ({"a": 8}, {1: 9}, 8, {0: 4}),
        ({"a": 6, "b": 2}, {1: 9}, 8, {0: 2}),
        ({"a": 4, "b": 4}, {1: 9, 0: 9}, 8, {}),
        ({"a": 8}, {0: 99}, 8, {}),
        ({"a": 8}, {}, 8, {}),
        ({"a": 6}, {1: 1}, 8, {}),
        ({"a": 4, "b": 4}, {2: 5}, 8, {0: 1, 1: 1}),
        ({"a": 1}, {1: 1}, 1, {0: 1}),
        ({"a": 1, "b": 1}, {2: 1, 3: 1}, 2, {0: 1, 1: 1}),
        ({"a": 2}, {1: 1, 2: 1, 3: 1}, 2, {0: 2}),
    ],
)
def test_as_many_make_room_as_bring_the_others_to_an_equal_share(
    running: dict[str, int], waiting: dict[int, int], slots: int, expected: dict[int, int]
) -> None:
    ids = runs(**running)
    chosen = to_go(ids, ids, waiting, slots)
    assert {lane: sum(lane_of(each) == lane for each in chosen) for lane in range(LANES)} == {
        lane: expected.get(lane, 0) for lane in range(LANES)
    }


def test_the_oldest_go_and_those_that_have_just_come_stay() -> None:
    ids = runs(a=4)
    assert to_go(ids, ids, {1: 1}, 4) == ids[:1]
    assert to_go(ids, ids[2:], {1: 1}, 4) == [ids[2]]
    assert to_go(ids, (), {1: 1}, 4) == []


def test_a_run_of_another_tenant_gets_a_slot_while_long_runs_hold_them_all(red: RedisServer, tmp_path: Path) -> None:
    steps = [["pay", {"amount": 400}]] * 30

    async def go() -> None:
        async with desk(red.url) as at:
            noisy = [await at.submit(task(*steps), tenant=TENANTS[0]) for _ in range(6)]
            eventually(lambda: len(open_shop.noted("pay begins")) >= 3)
            quiet = await at.submit(task(), tenant=TENANTS[1])
            assert (await at.end(quiet, 60)).status == "succeeded"
            states = [await at.store.journal.record(run_id) for run_id in noisy]
            assert not any(each.status == "succeeded" for each in states)
            released = [
                each for run_id in noisy for each in await at.events(run_id) if isinstance(each, ev.RunReleased)
            ]
            assert 1 <= len([each for each in released if each.reason == "turn"]) <= 6
            worker.send(signal.SIGQUIT)
            worker.wait(30)

    with shop(red.url, tmp_path) as open_shop:
        worker = open_shop.start(slots=3, lease_s=15).ready()
        asyncio.run(go())
