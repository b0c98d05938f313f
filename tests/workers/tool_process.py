"""A tool worker as a process of its own: `python -m tests.workers.tool_process URL QUEUE AGENTS LEASE_S`.

It takes messages as a Celery worker takes them, from the list named like the queue, and makes the calls.
"""

import json
import sys
from base64 import b64decode
from typing import Any

from redis import Redis

from loopwright import load
from loopwright.agents.registry import Registry
from loopwright.workers.doorbell import tool_queue
from loopwright.workers.tool_queue import ToolRunner


def main(url: str, queue: str, agents: str, lease_s: str) -> None:
    """Make the calls of one queue until somebody ends the process."""
    client: Any = Redis.from_url(url)
    runner = ToolRunner(url, Registry(load(agents)), lease_s=float(lease_s), is_disposable=True)
    print("ready", flush=True)
    while True:
        taken = client.brpop([tool_queue(queue)], timeout=1)
        if taken:
            message = json.loads(taken[1])
            ((payload,), _options, _embedded) = json.loads(b64decode(message["body"]))
            runner.run(payload)


if __name__ == "__main__":
    main(*sys.argv[1:])
