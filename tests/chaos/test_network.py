"""The link to Redis goes silent, without an end of any connection: callers are told, workers come back."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx2

from .checker import examine
from .conftest import Make
from .figures import percentile, record
from .load import body, posting, settle
from .tcp_proxy import StallingProxy
from .test_kill_storms import random_plans
from .world import World, size

ANSWERED_WITHIN_S = 5.0
BACK_WITHIN_S = 20.0
LAG_S = 0.1


def test_a_silent_link_to_redis_is_a_503_in_time_and_workers_recover(make_world: Make) -> None:
    world = make_world(delay_s=0.2)
    with StallingProxy(world.port) as proxy:
        through = f"redis://127.0.0.1:{proxy.port}/0"
        world.start_api(redis_url=through)
        workers = [world.start_worker(redis_url=through) for _ in range(2)]
        world.await_workers()
        before, silence = random_plans(9, size(100, 30)), size(60, 12)
        with posting(world, before) as posted:
            pass
        proxy.stall()
        with lag_of(world) as lags:
            codes, slowest = refused_for(world, silence)
        proxy.flow()
        since = time.monotonic()
        with posting(world, {"after": "pay"}) as later:
            pass
        settle(world, later.accepted, BACK_WITHIN_S)
        back_s = time.monotonic() - since
        settle(world, posted.accepted)
        verdict = examine(world, posted.accepted | later.accepted)
    record(
        "T10 silent link to Redis", silence_s=silence, codes=codes, slowest_answer_s=round(slowest, 2),
        back_s=round(back_s, 1), lag_p99_s=percentile(lags, 0.99), broken=verdict.broken,
    )  # fmt: skip
    assert set(codes) == {503}
    assert slowest <= ANSWERED_WITHIN_S
    assert back_s <= BACK_WITHIN_S
    assert percentile(lags, 0.99) < LAG_S
    assert verdict.broken == {}
    assert all(each.is_alive for each in workers)


def refused_for(world: World, seconds: float) -> tuple[dict[int, int], float]:
    """Post for so many seconds; return how often each code came, and the slowest answer."""
    codes: dict[int, int] = {}
    slowest, until = 0.0, time.monotonic() + seconds
    while (since := time.monotonic()) < until:
        answer = world.http.post("/v1/runs", json=body("silent", "look"))
        codes[answer.status_code] = codes.get(answer.status_code, 0) + 1
        assert answer.json()["retryable"] and "retry-after" in answer.headers
        slowest = max(slowest, time.monotonic() - since)
    return codes, slowest


@contextmanager
def lag_of(world: World) -> Iterator[list[float]]:
    """Measure during the block how long the API takes to answer what needs no Redis."""
    lags: list[float] = []
    over = threading.Event()

    def watch() -> None:
        with httpx2.Client(base_url=world.url, timeout=10, verify=False) as client:
            client.get("/healthz")
            while not over.wait(0.05):
                since = time.monotonic()
                client.get("/healthz").raise_for_status()
                lags.append(time.monotonic() - since)

    thread = threading.Thread(target=watch)
    thread.start()
    yield lags
    over.set()
    thread.join(20)
