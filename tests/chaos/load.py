"""What users do while the attack goes on: post tasks, wait for ends, decide about calls in doubt."""

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx2

from .processes import eventually
from .world import World

FINAL = frozenset({"succeeded", "failed", "cancelled", "expired"})
POSTERS = 8


@dataclass
class Posted:
    """What was posted, and what the API said to it.

    Attributes:
        accepted: Run id to tag, for each run that was acknowledged.
        answers: How often each status code came.
        slowest_s: The longest that an answer took.
        modes: Durability modes that the answers named.
        moments: Run id to when it was acknowledged, by `time.monotonic`.
    """

    accepted: dict[str, str] = field(default_factory=dict)
    answers: dict[str, int] = field(default_factory=dict)
    slowest_s: float = 0.0
    modes: set[str] = field(default_factory=set)
    moments: dict[str, float] = field(default_factory=dict)


def body(tag: str, plan: str) -> dict[str, Any]:
    """Return a run request for the chaos agent."""
    return {"agent": "chaos", "task": f"run={tag} plan={plan}"}


async def post_all(
    world: World,
    plans: dict[str, str],
    *,
    posted: Posted,
    within_s: float = 120,
    pause_s: float = 0.0,
    by_key: bool = True,
) -> None:
    """Post a run for each tag, again and again under the same idempotency key until it is acknowledged.

    Args:
        world: Where to post.
        plans: Tag to plan.
        posted: Filled with what came of it.
        within_s: How long to go on.
        pause_s: What each of the posters waits between two runs.
        by_key: Whether an idempotency key goes along; Redis remembers each for a day.
    """
    waiting = iter(plans.items())
    deadline = time.monotonic() + within_s

    async def post(client: httpx2.AsyncClient) -> None:
        for tag, plan in waiting:
            while not await post_once(client, tag, plan, posted, by_key=by_key):
                assert time.monotonic() < deadline, f"run {tag} was not accepted within {within_s:g} s"
                await asyncio.sleep(0.2)
            await asyncio.sleep(pause_s)

    async with httpx2.AsyncClient(base_url=world.url, timeout=30, verify=False) as client, asyncio.TaskGroup() as group:
        for _ in range(POSTERS):
            group.create_task(post(client))


async def post_once(client: httpx2.AsyncClient, tag: str, plan: str, posted: Posted, *, by_key: bool) -> bool:
    """Post one run; return whether it was acknowledged."""
    since = time.monotonic()
    try:
        answer = await client.post("/v1/runs", json=body(tag, plan), headers={"idempotency-key": tag} if by_key else {})
        code = str(answer.status_code)
    except httpx2.TransportError as exc:
        code, answer = type(exc).__name__, None
    posted.answers[code] = posted.answers.get(code, 0) + 1
    posted.slowest_s = max(posted.slowest_s, time.monotonic() - since)
    if answer is None or answer.status_code not in (200, 202):
        assert answer is None or answer.status_code in (429, 503), answer.text
        return False
    run = answer.json()
    posted.accepted[run["id"]] = tag
    posted.moments[run["id"]] = time.monotonic()
    posted.modes.add(run.get("durability", ""))
    return True


@contextmanager
def posting(world: World, plans: dict[str, str], **how: Any) -> Iterator[Posted]:
    """Post runs from a thread while the block attacks; at its end all of them are acknowledged."""
    posted = Posted()
    problems: list[BaseException] = []

    def work() -> None:
        try:
            asyncio.run(post_all(world, plans, posted=posted, **how))
        except BaseException as exc:
            problems.append(exc)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    yield posted
    thread.join(300)
    if problems:
        raise problems[0]
    assert not thread.is_alive() and len(posted.accepted) == len(plans)


def statuses(world: World) -> dict[str, str]:
    """Return the status of every run of the tenant, as the API lists it."""
    found: dict[str, str] = {}
    cursor: str | None = ""
    while cursor is not None:
        page = world.http.get("/v1/runs", params={"limit": 200} | ({"cursor": cursor} if cursor else {})).json()
        found |= {each["id"]: each["status"] for each in page["items"]}
        cursor = page["next"]
    return found


def settle(world: World, accepted: dict[str, str], within_s: float = 60.0) -> None:
    """Wait until every run is final, saying of each call in doubt what the sink knows of it."""

    def settled() -> bool:
        now = statuses(world)
        open_runs = {run_id for run_id in accepted if now.get(run_id) not in FINAL}
        if any(now.get(run_id) == "waiting" for run_id in open_runs):
            decide(world)
        return not open_runs

    eventually(settled, within_s, 0.3, "every run ends")


def decide(world: World) -> int:
    """Say of every call in doubt what the sink knows of it; return how many there were."""
    done = {(each["run"], each["call"]) for each in world.sent()}
    waiting = world.http.get("/v1/approvals", params={"limit": 100}).json()["items"]
    for each in waiting:
        sent = (each["run_id"], each["call_id"]) in done
        said = {"decision": "happened", "result": "seen"} if sent else {"decision": "did_not_happen"}
        told = world.http.post(f"/v1/approvals/{each['id']}", json=said | {"digest": each["digest"]})
        assert told.status_code in (200, 404, 409), told.text
    return len(waiting)
