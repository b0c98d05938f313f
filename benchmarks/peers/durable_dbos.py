"""DBOS on SQLite: the bare loop as a workflow, each ReAct step (model and tool together) one durable step.

Sync, on the default pool of threads: its async path, and a thread for each of 100 runs, both cost more.
`always`: SQLite as DBOS sets it up (rollback journal, synchronous=FULL): each commit reaches the disk.
`everysec`: write-ahead log and synchronous=NORMAL, through an engine of our own: a commit survives the process,
and a power cut may take the last ones.
"""
# mypy: ignore-errors

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import sqlalchemy
from dbos import DBOS, SetWorkflowID
from measure import ANSWER
from measure_durable import DurableSubject, Store, main


@DBOS.step()
def take_step(turn: int, steps: int) -> str | int:
    """Ask the scripted model and call the tool."""
    return ANSWER if turn == steps else turn + 1


@DBOS.workflow()
def run_agent(steps: int) -> str:
    """Run the task to its answer."""
    messages = []
    for turn in range(1, steps + 1):
        messages.append(take_step(turn, steps))
    return messages[-1]


def run_named(number: int, steps: int) -> str:
    """Do the run of that number."""
    with SetWorkflowID(str(number)):
        return run_agent(steps)


def fast_engine(url: str) -> sqlalchemy.Engine:
    """Return an engine as DBOS would make it, with a write-ahead log and synchronous=NORMAL."""
    engine = sqlalchemy.create_engine(url)

    @sqlalchemy.event.listens_for(engine, "connect")
    def configure(connection, record) -> None:
        connection.isolation_level = "IMMEDIATE"
        for pragma in ("busy_timeout=30000", "foreign_keys=ON", "journal_mode=WAL", "synchronous=NORMAL"):
            connection.execute(f"PRAGMA {pragma}")

    return engine


@asynccontextmanager
async def open_store(folder: Path, steps: int, mode: str) -> AsyncIterator[Store]:
    """Open a fresh database."""
    url = f"sqlite:///{folder}/dbos.sqlite"
    config = {"name": "bench", "system_database_url": url, "log_level": "ERROR", "enable_otlp": False}
    if mode == "everysec":
        config["system_database_engine"] = fast_engine(url)
    DBOS(config=config)
    logging.getLogger("dbos").setLevel(logging.ERROR)
    DBOS.launch()

    async def run(number: int) -> str:
        return await asyncio.to_thread(run_named, number, steps)

    try:
        yield Store(run)
    finally:
        DBOS.destroy()


if __name__ == "__main__":
    main(DurableSubject("DBOS + SQLite", "dbos", ("always", "everysec"), open_store))
