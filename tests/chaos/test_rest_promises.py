"""What callers are promised in a crowd: one run per idempotency key, no effect behind an acknowledged cancel."""

import asyncio
import random
import time
from collections import Counter

import httpx2

from loopwright.planner import events as ev

from .checker import examine, read_journals
from .conftest import Make
from .figures import percentile, record
from .load import body, posting, settle
from .world import World, size

KEYS, POSTS = 100, 50
ABORTS_WITHIN_S = 2.0
CLOCK_S = 0.002
"""What moments of Redis, whole milliseconds of the same clock, may be off."""


def test_a_hundred_keys_posted_fifty_times_each_at_once_make_a_hundred_runs(make_world: Make) -> None:
    world = make_world()
    world.start_api()
    posts = size(POSTS, 10)
    ids, conflicts = asyncio.run(crowd(world, posts))
    made = {run_id for per_key in ids.values() for run_id in per_key}
    codes = Counter(conflicts)
    record("T17 idempotency keys", keys=KEYS, posts_each=posts, runs=len(made), other_bodies=dict(codes))
    assert all(len(per_key) == 1 for per_key in ids.values())
    assert len(made) == KEYS
    assert codes == {409: KEYS}


async def crowd(world: World, posts: int) -> tuple[dict[str, set[str]], list[int]]:
    """Post every key so often, all at once, then once more with another body; return run ids by key, and the codes."""
    ids: dict[str, set[str]] = {f"key-{n}": set() for n in range(KEYS)}
    limits = httpx2.Limits(max_connections=50)
    async with httpx2.AsyncClient(base_url=world.url, timeout=120, limits=limits, verify=False) as client:

        async def post(key: str, plan: str) -> httpx2.Response:
            return await client.post("/v1/runs", json=body(key, plan), headers={"idempotency-key": key})

        for answer, key in await together([(post(key, "look"), key) for key in ids for _ in range(posts)]):
            assert answer.status_code == 202, answer.text
            ids[key].add(answer.json()["id"])
        others = await together([(post(key, "pay"), key) for key in ids])
    return ids, [answer.status_code for answer, _ in others]


async def together(posts: list[tuple[object, str]]) -> list[tuple[httpx2.Response, str]]:
    """Await all posts at once, in a random order; return each answer with its key."""
    random.Random(12).shuffle(posts)
    answers = await asyncio.gather(*(post for post, _ in posts))  # type: ignore[call-overload]
    return [(answer, key) for answer, (_, key) in zip(answers, posts, strict=True)]


def test_behind_an_acknowledged_cancel_no_call_is_sent_and_the_model_is_left_alone(make_world: Make) -> None:
    world = make_world(delay_s=0.5)
    world.start_api()
    for _ in range(2):
        world.start_worker(CHAOS_TOOL_S=0.3)
    count = size(500, 80)
    draw = random.Random(13)
    plans = {f"c{n}": draw.choice(("pay,post,pay", "post,pay,look", "look,pay,post,pay")) for n in range(count)}
    acknowledged: dict[str, float] = {}
    with posting(world, plans) as posted:
        asked: set[str] = set()
        while len(asked) < count:
            for run_id in set(posted.accepted) - asked:
                if time.monotonic() - posted.moments[run_id] > draw.uniform(0, 3):
                    asked.add(run_id)
                    if world.http.post(f"/v1/runs/{run_id}/cancel").status_code in (200, 202):
                        acknowledged[run_id] = time.monotonic()
            time.sleep(0.005)
    settle(world, posted.accepted)
    verdict = examine(world, posted.accepted)
    late = sent_behind(world, acknowledged)
    aborts = ends_after(world, acknowledged)
    record(
        "T18 cancels", cancels=len(acknowledged), sent_behind=len(late), abort_p99_s=percentile(aborts, 0.99),
        statuses=verdict.statuses, broken=verdict.broken,
    )  # fmt: skip
    assert late == []
    assert verdict.broken == {}
    assert percentile(aborts, 0.99) <= ABORTS_WITHIN_S
    assert set(verdict.statuses) <= {"cancelled(requested)", "succeeded"}
    assert verdict.statuses["cancelled(requested)"] > count // 3


def sent_behind(world: World, acknowledged: dict[str, float]) -> list[str]:
    """Return the calls with effects that were sent though their intent was stored behind the acknowledgement."""
    offset = time.time() - time.monotonic()
    sent = {(each["run"], each["call"]) for each in world.sent()}
    return [
        f"{run_id} {each.event.call_id}"
        for run_id, stored in read_journals(world.redis_url, acknowledged).items()
        for each in stored
        if isinstance(each.event, ev.CallIntended)
        and each.at_ms / 1000 > acknowledged[run_id] + offset + CLOCK_S
        and (run_id, each.event.call_id) in sent
    ]


def ends_after(world: World, acknowledged: dict[str, float]) -> list[float]:
    """Return how many seconds after the acknowledgement each cancelled run ended."""
    offset = time.time() - time.monotonic()
    ends = []
    for run_id, stored in read_journals(world.redis_url, acknowledged).items():
        if isinstance(stored[-1].event, ev.RunCancelled):
            ends.append(max(0.0, stored[-1].at_ms / 1000 - offset - acknowledged[run_id]))
    return ends
