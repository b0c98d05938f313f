"""How long it takes from the start of a POST to the first byte at the model server, when nothing else is going on."""

import argparse
import asyncio
import json
import statistics
import sys
import time

from service_accept import start_rival
from service_world import ROOT, Deployment, RawClient, deployment, run_body

WARM_UP = 20
PAUSE_S = 0.02


def main() -> None:
    """Measure once and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--subject", choices=("loopwright", "celery"), default="loopwright")
    parser.add_argument("--runs", type=int, default=300)
    options = parser.parse_args()
    with deployment() as where:
        port = start(where, options.subject)
        asyncio.run(one_by_one(where, port, WARM_UP, "w"))
        taken = sorted(asyncio.run(one_by_one(where, port, options.runs, "m")))
    report = {
        "name": options.subject,
        "p50_ms": round(statistics.median(taken), 2),
        "p99_ms": round(taken[int(len(taken) * 0.99)], 2),
        "max_ms": round(taken[-1], 2),
    }
    print(json.dumps(report))


def start(where: Deployment, subject: str) -> int:
    """Start API and one worker of a subject; return the API's port."""
    if subject == "loopwright":
        _, port = where.start_api()
        where.start_worker(slots=256)
        return port
    command = [sys.executable, str(ROOT / "benchmarks" / "peers" / "service_celery.py"), "worker"]
    env = {"RIVAL_REDIS": where.env["LOOPWRIGHT_REDIS_URL"], "RIVAL_MODEL": where.model_url}
    where.start(command, r"ready\.", env)
    return start_rival(where)[1]


async def one_by_one(where: Deployment, port: int, runs: int, name: str) -> list[float]:
    """Post runs one after another, each when the last one has ended; return the milliseconds of each."""
    client = await RawClient.open(port)
    began: dict[str, int] = {}
    for number in range(runs):
        tag = f"{name}{number}"
        began[tag] = time.monotonic_ns()
        status, body = await client.post("/v1/runs", run_body(tag))
        if status != 202:
            raise SystemExit(f"not accepted: {status} {body[:300]!r}")
        await asyncio.sleep(PAUSE_S)
    client.close()
    deadline = time.monotonic() + 30
    while len(seen := where.seen()) < runs or not began.keys() <= seen.keys():
        if time.monotonic() > deadline:
            raise SystemExit(f"{len(began.keys() - seen.keys())} runs never reached the model server")
        await asyncio.sleep(0.05)
    return [(seen[tag][0][2] - since) / 1e6 for tag, since in began.items()]


if __name__ == "__main__":
    main()
