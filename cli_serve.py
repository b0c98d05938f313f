"""Commands that serve: `serve` is a whole server on one machine, `api` and `worker` are its parts for many."""

from typing import Annotated, Any, Literal

import typer

from .cli_shared import AsJson, DataDir, Model, ModelUrl, Redis, Sources, die, guarded, settings_of

Host = Annotated[
    str | None, typer.Option("--host", help="Address to listen on; 127.0.0.1 as long as there are no keys.")
]
Port = Annotated[int | None, typer.Option("--port", help="Port to listen on; 0 takes any free one.")]
Slots = Annotated[int | None, typer.Option("--slots", help="Runs that a worker drives at the same time.")]
Parent = Annotated[int | None, typer.Option("--parent", hidden=True)]


def serve(
    sources: Sources = None,
    redis: Redis = None,
    data_dir: DataDir = None,
    model_url: ModelUrl = None,
    model: Model = None,
    host: Host = None,
    port: Port = None,
    slots: Slots = None,
    workers: Annotated[int, typer.Option("--workers", min=0, max=64, help="Worker processes to start.")] = 1,
    as_json: AsJson = False,
) -> None:
    """Serve agents on this machine: API, worker, and an embedded Redis unless --redis names one.

    With the embedded Redis, finished runs move to a folder beside it after a week; LOOPWRIGHT_ARCHIVE names another.
    """
    given: dict[str, Any] = {"redis_url": redis, "data_dir": data_dir, "model_url": model_url, "model": model}
    given |= {"host": host, "port": port, "slots": slots}
    settings = settings_of(**given)
    if settings.redis_url is None and settings.archive is None:
        settings = settings_of(**given, archive=f"{settings.data_dir}/archive")

    def work() -> int:
        from .workers.supervisor import supervise

        return supervise(settings, sources or [], workers=workers, as_json=as_json)

    _end(guarded(work))


def api(
    sources: Sources = None,
    redis: Redis = None,
    data_dir: DataDir = None,
    model_url: ModelUrl = None,
    model: Model = None,
    host: Host = None,
    port: Port = None,
    parent: Parent = None,
) -> None:
    """Serve the REST API. It accepts runs and shows them; workers carry them out."""
    settings = settings_of(redis_url=redis, data_dir=data_dir, model_url=model_url, model=model, host=host, port=port)

    def work() -> int:
        from .api.server import run_api

        return run_api(settings, sources or [])

    _end(_child(work, parent))


def worker(
    sources: Sources = None,
    redis: Redis = None,
    data_dir: DataDir = None,
    model_url: ModelUrl = None,
    model: Model = None,
    slots: Slots = None,
    queue: Annotated[str | None, typer.Option("--queue", help="Serve tools of this queue instead of runs.")] = None,
    pool: Annotated[
        Literal["asyncio", "prefork", "threads", "solo"],
        typer.Option("--pool", help="Of a tool worker; prefork gives every call a process of its own."),
    ] = "asyncio",
    parent: Parent = None,
) -> None:
    """Carry runs out, or with --queue the tools of one queue. Start as many as there is work for."""
    if pool != "asyncio" and queue is None:
        die(f"--pool {pool} serves tools: name their queue with --queue (runs need --pool asyncio)")
    settings = settings_of(redis_url=redis, data_dir=data_dir, model_url=model_url, model=model, slots=slots)

    def work() -> int:
        from .workers.process import run_worker

        return run_worker(settings, sources or [], queue=queue, pool=pool)

    _end(_child(work, parent))


def _child(work: Any, parent: int | None) -> int:
    """Do the work of a process that ends with its parent, if it has one."""
    if parent is not None:
        from .workers.children import end_with

        end_with(parent)
    return int(guarded(work))


def _end(code: int) -> None:
    if code:
        raise typer.Exit(code)
