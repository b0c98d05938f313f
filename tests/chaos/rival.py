"""The same work as plain Celery tasks, with every safety switch on: what the harness must show to lose or repeat.

A task is a whole run: `acks_late`, `reject_on_worker_lost`, prefetch of one, a short visibility timeout. Its steps
write into the sink as the chaos agent's tools do.
"""

import os
import time

from celery import Celery

from .toolbox.sink import note

VISIBILITY_S = 2
STEP_S = 0.02


def make_app(url: str) -> Celery:
    """Return the application with its one task."""
    app = Celery("rival", broker=url)
    app.conf.update(
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        task_ignore_result=True,
        worker_prefetch_multiplier=1,
        broker_connection_retry_on_startup=True,
        broker_transport_options={
            "visibility_timeout": VISIBILITY_S, "unacked_restore_interval": 1, "unacked_restore_throttle": 1,
        },
    )  # fmt: skip
    app.task(name="rival.run")(run)
    return app


def run(tag: str, plan: list[str]) -> None:
    """Do every step of a plan."""
    for step, tool in enumerate(plan, 1):
        note("sent", tool=tool, effect="once", run=tag, call=f"{step}.1", key=f"{tag}/{step}.1")
        time.sleep(STEP_S)
    note("end", run=tag)


def work() -> None:
    """Be a worker; run in a process of its own."""
    app = make_app(os.environ["RIVAL_URL"])
    asked = "worker --pool threads --concurrency 8 --without-gossip --without-mingle --without-heartbeat -l ERROR"
    app.worker_main(asked.split())


if __name__ == "__main__":
    work()
