"""LangGraph with `AsyncSqliteSaver`: a checkpoint at each super-step, in its default durability mode `async`.

`always`: SQLite as the saver sets it up (write-ahead log, synchronous=FULL): each commit reaches the disk.
`everysec`: synchronous=NORMAL: a commit survives the process, and a power cut may take the last ones.
"""
# mypy: ignore-errors

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from measure import TASK, Script
from measure_durable import DurableSubject, Store, main

from peers.langgraph_model import CONFIG, ScriptedModel, build_graph
from peers.peer_langgraph import define


@asynccontextmanager
async def open_store(folder: Path, steps: int, mode: str) -> AsyncIterator[Store]:
    """Open a fresh database."""
    async with AsyncSqliteSaver.from_conn_string(str(folder / "checkpoints.sqlite")) as saver:
        await saver.setup()
        if mode == "everysec":
            await saver.conn.execute("PRAGMA synchronous=NORMAL")
        graph = build_graph(ScriptedModel(steps=steps), define(Script(steps)), checkpointer=saver)

        async def run(number: int) -> str:
            config = {**CONFIG, "configurable": {"thread_id": str(number)}}
            state = await graph.ainvoke({"messages": [("user", TASK)]}, config)
            return state["messages"][-1].content

        yield Store(run)


if __name__ == "__main__":
    main(DurableSubject("LangGraph + AsyncSqliteSaver", "langgraph", ("always", "everysec"), open_store))
