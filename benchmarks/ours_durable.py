"""Loopwright on Redis: the run of `ours_loop`, journaled by group commit on a redis-server of its own.

`everysec` and `always` are the server's `appendfsync`. `always_once` is `always` with a tool of effect `once`:
each call's intent is on disk before the tool runs, which neither peer offers.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import redis
from measure import DECISION, FINAL_DECISION, INSTRUCTIONS, TASK
from measure_durable import DurableSubject, Store, main
from ours_loop import LIMITS

from loopwright import Agent, Tool, tool
from loopwright.inference.endpoint import CompletionRequest
from loopwright.memory.journal.redis import RedisJournal
from loopwright.memory.server import EmbeddedRedis
from loopwright.testing import ScriptedEndpoint

SCRIPT_COMMANDS = ("evalsha", "fcall")


async def add(a: int, b: int) -> int:
    """Return the sum of two integers.

    Args:
        a: One integer.
        b: The other.
    """
    return a + b


@asynccontextmanager
async def open_store(folder: Path, steps: int, mode: str) -> AsyncIterator[Store]:
    """Start an empty server and connect a journal to it."""
    fsync, _, once = mode.partition("_")
    agent = _agent(steps, tool(add, effect="once" if once else "read"))
    async with EmbeddedRedis(folder) as server:
        with redis.Redis.from_url(server.url) as client:
            client.config_set("appendfsync", fsync)
            journal = RedisJournal(server.url, durability="always" if fsync == "always" else "everysec")

            async def run(number: int) -> str:
                return (await agent.run(TASK, journal=journal)).output

            try:
                yield Store(run, lambda: _counters(client))
            finally:
                await journal.aclose()


def _agent(steps: int, tool_: Tool[..., object]) -> Agent[str]:
    """Return an agent whose endpoint tells the turn from the prompt, because runs overlap."""

    def say(request: CompletionRequest) -> str:
        endpoint.requests.clear()
        turn = len(request.messages) // 2
        return FINAL_DECISION if turn == steps else DECISION.format(turn=turn)

    endpoint = ScriptedEndpoint(iter(lambda: say, None))
    return Agent(name="adder", instructions=INSTRUCTIONS, tools=[tool_], limits=LIMITS, model=endpoint)


def _counters(client: "redis.Redis") -> Mapping[str, float]:
    """Return what the server has spent and seen: CPU, commands, scripts, and reads of a socket (round trips)."""
    cpu, commands, stats = client.info("cpu"), client.info("commandstats"), client.info("stats")
    spent_s = cpu["used_cpu_sys"] + cpu["used_cpu_user"]
    return {
        "server_us": spent_s * 1e6,
        "commands": stats["total_commands_processed"],
        "scripts": sum(commands.get(f"cmdstat_{name}", {"calls": 0})["calls"] for name in SCRIPT_COMMANDS),
        "reads": stats["total_reads_processed"],
    }


if __name__ == "__main__":
    main(DurableSubject("Loopwright + Redis", "loopwright", ("everysec", "always", "always_once"), open_store))
