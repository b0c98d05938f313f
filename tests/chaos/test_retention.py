"""The service runs for long: finished runs leave Redis, and no process keeps what it does not need."""

import os
import time
from pathlib import Path

from .conftest import Make
from .figures import record
from .load import posting
from .processes import Process, eventually
from .test_kill_storms import random_plans
from .world import World, size

RETENTION_S = 2
MOST_GROWTH_KIB = 4096
"""Growth of a process over the second half that is taken for noise of the allocator."""


def test_finished_runs_leave_redis_and_processes_do_not_grow(make_world: Make) -> None:
    world = make_world()
    api = world.start_api(LOOPWRIGHT_RETENTION_S=RETENTION_S)
    workers = [world.start_worker(LOOPWRIGHT_RETENTION_S=RETENTION_S, CHAOS_TOOL_S=0) for _ in range(2)]
    count = size(10_000, 300)
    keys, sizes, files = [], [], []
    for nth in range(3):
        with posting(world, {f"{nth}-{tag}": plan for tag, plan in random_plans(16, count, 2).items()}, by_key=False):
            pass
        eventually(lambda: nobody_is_left(world), 120, 0.5, "finished runs leave Redis")
        keys.append(entries(world))
        sizes.append([rss_kib(each) for each in (api, *workers)])
        files.append([open_files(each) for each in (api, *workers)])
    growth = [after - before for before, after in zip(sizes[1], sizes[2], strict=True)]
    record(
        "T16 soak", runs=3 * count, redis_keys=keys, rss_mib=[[each // 1024 for each in row] for row in sizes],
        open_files=files,
    )  # fmt: skip
    assert keys[2] <= keys[0] + 2, "what a finished run leaves in Redis goes away"
    assert max(growth) <= MOST_GROWTH_KIB, f"KiB grown over the last third: {growth}"
    assert all(after <= 1.5 * before + 4 for before, after in zip(files[1], files[2], strict=True)), (
        "idle connections come and go; one that leaks in a hundred runs is more than that"
    )
    assert all(each.is_alive for each in (api, *workers))


def nobody_is_left(world: World) -> bool:
    """Say whether no run has a key in Redis any more."""
    time.sleep(0.1)
    return b"*0" in world.redis.command("EVAL", COUNT_RUNS, "0")[:4]


COUNT_RUNS = "\"return redis.call('KEYS','{s*}:run:*')\""


def entries(world: World) -> int:
    """Return how many keys Redis holds."""
    return int(world.redis.command("DBSIZE").strip().removeprefix(b":"))


def rss_kib(process: Process) -> int:
    """Return the resident memory of a process."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS")))


def open_files(process: Process) -> int:
    """Return how many files and connections a process has open."""
    return len(os.listdir(f"/proc/{process.pid}/fd"))
