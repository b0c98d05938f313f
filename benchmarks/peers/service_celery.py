"""The usual construction: FastAPI in front, one plain Celery task per run, a thread per run in the worker.

    python service_celery.py api | worker

Reads `RIVAL_REDIS` (unix://...) and `RIVAL_MODEL`. Results are ignored, the publisher's pool is kept, the HTTP client
of the worker is kept as well: each the faster choice. The task asks the model once, as the first step of a run does.
"""

import asyncio
import http.client
import os
import sys
import threading
import uuid
from urllib.parse import urlsplit

from celery import Celery

app = Celery("rival", broker=os.environ["RIVAL_REDIS"].replace("unix://", "redis+socket://"))
app.conf.update(task_ignore_result=True, worker_prefetch_multiplier=1, broker_connection_retry_on_startup=True)
KEPT = threading.local()


@app.task(name="rival.run")
def run(run_id: str, task: str) -> None:
    """Ask the model for the first step."""
    if not hasattr(KEPT, "model"):
        KEPT.model = http.client.HTTPConnection(urlsplit(os.environ["RIVAL_MODEL"]).netloc)
    body = f'{{"model":"sim","stream":true,"messages":[{{"role":"user","content":"{task}"}}],"temperature":0}}'
    KEPT.model.request("POST", "/v1/chat/completions", body, {"content-type": "application/json"})
    KEPT.model.getresponse().read()


def serve() -> None:
    """Be the API."""
    import uvicorn
    from fastapi import FastAPI
    from pydantic import BaseModel, JsonValue

    class RunRequest(BaseModel):
        agent: str
        task: JsonValue

    api = FastAPI()

    @api.post("/v1/runs", status_code=202)
    def create_run(request: RunRequest) -> dict[str, str]:
        run_id = uuid.uuid4().hex
        run.delay(run_id, request.task)
        return {"id": run_id}

    uvicorn.run(api, host="127.0.0.1", port=0, access_log=False, loop="uvloop", http="httptools")


def work() -> None:
    """Be a worker."""
    app.worker_main(["worker", "--pool", "threads", "--concurrency", "16", "-l", "INFO", "--without-gossip", "--without-mingle"])


if __name__ == "__main__":
    {"api": serve, "worker": work}[sys.argv[1]]()
