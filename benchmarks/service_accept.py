"""How many runs one CPU second of the API process accepts: `POST /v1/runs` until it answers 202, nothing else.

With `--subject celery` the usual construction instead: FastAPI, and one `delay()` of a plain Celery task per request.
"""

import argparse
import asyncio
import json
import sys
import time

from service_world import ROOT, Deployment, Process, RawClient, deployment, run_body

WARM_UP = 300


def main() -> None:
    """Measure once and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--subject", choices=("loopwright", "celery"), default="loopwright")
    parser.add_argument("--runs", type=int, default=6000)
    parser.add_argument("--connections", type=int, default=64)
    options = parser.parse_args()
    with deployment() as where:
        process, port = where.start_api() if options.subject == "loopwright" else start_rival(where)
        asyncio.run(flood(port, WARM_UP, options.connections, "w"))
        cpu, redis, since = process.cpu_s(), where.redis_cpu_s(), time.perf_counter()
        asyncio.run(flood(port, options.runs, options.connections, "m"))
        wall_s = time.perf_counter() - since
        cpu_s = process.cpu_s() - cpu
        report = {
            "name": options.subject,
            "connections": options.connections,
            "accepted_per_cpu_s": round(options.runs / cpu_s),
            "api_us_per_run": round(cpu_s / options.runs * 1e6),
            "redis_us_per_run": round((where.redis_cpu_s() - redis) / options.runs * 1e6),
            "accepted_per_wall_s": round(options.runs / wall_s),
            "rss_mib": round(process.rss_kib() / 1024, 1),
        }
    print(json.dumps(report))


def start_rival(where: Deployment) -> tuple[Process, int]:
    """Start the usual construction; return it and its port."""
    command = [sys.executable, str(ROOT / "benchmarks" / "peers" / "service_celery.py"), "api"]
    process = where.start(
        command, r"Uvicorn running on http://[^:\s]+:(\d+)", {"RIVAL_REDIS": where.env["LOOPWRIGHT_REDIS_URL"]}
    )
    return process, int(process.ready[1])


async def flood(port: int, runs: int, connections: int, name: str) -> None:
    """Post so many runs over so many connections."""
    numbers = iter(range(runs))

    async def post() -> None:
        client = await RawClient.open(port)
        for number in numbers:
            status, body = await client.post("/v1/runs", run_body(f"{name}{number}"))
            if status != 202:
                raise SystemExit(f"not accepted: {status} {body[:300]!r}")
        client.close()

    async with asyncio.TaskGroup() as group:
        for _ in range(connections):
            group.create_task(post())


if __name__ == "__main__":
    main()
