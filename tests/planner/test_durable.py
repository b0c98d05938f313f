"""Runs on a real Redis: a killed process, a server that goes away, the same state after replay."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from loopwright import resume_run, run_agent, tool
from loopwright.errors import JournalUnavailable, RunBusy
from loopwright.memory.journal.redis import RedisJournal
from loopwright.memory.server import EmbeddedRedis
from loopwright.planner import events as ev
from loopwright.planner.state import fold, state_digest
from loopwright.testing import ScriptedEndpoint, answer, call, calls

from .agents_under_test import broken, long_text, lookup, make_agent


@pytest.fixture
def server(tmp_path: Path) -> Iterator[EmbeddedRedis]:
    with EmbeddedRedis(tmp_path / "data") as redis:
        yield redis


def test_replaying_a_journal_from_redis_gives_the_same_state(server: EmbeddedRedis) -> None:
    replies = [
        call("lookup", key="a"), "garbage", calls(("lookup", {"key": "b"}), ("broken", {})),
        call("long_text", lines=300), call("read_artifact", artifact_id="r4.1"), answer("x"),
    ]  # fmt: skip

    async def go() -> None:
        agent = make_agent(lookup, broken, long_text)
        journal = RedisJournal(server.url)
        result = await run_agent(agent, "t", endpoint=ScriptedEndpoint(replies), journal=journal)
        assert result.status == "succeeded"
        stored = await journal.read(result.run_id)
        assert state_digest(fold(each.event for each in stored)) == state_digest(result.state)
        assert (await journal.record(result.run_id)).status == "succeeded"
        await journal.aclose()

    asyncio.run(go())


KILLED = """
    import asyncio, os, signal, sys
    from loopwright import run_agent
    from loopwright.memory.journal.redis import RedisJournal
    from loopwright.testing import ScriptedEndpoint, call
    from killed_agent import agent

    async def main():
        journal = RedisJournal(sys.argv[1])
        await run_agent(agent, "t", endpoint=ScriptedEndpoint([call("pay")]), journal=journal, lease_s=1.0)

    asyncio.run(main())
"""

AGENT = """
    import os, signal
    from pathlib import Path
    from loopwright import Agent, Context, tool

    LOG = Path(__file__).with_name("payments.log")

    @tool(effect="EFFECT")
    async def pay(context: Context) -> str:
        "Pay the bill."
        with LOG.open("a") as log:
            log.write(context.key + "\\n")
        if len(LOG.read_text().splitlines()) == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return "paid"

    agent = Agent(name="payer", instructions="Pay.", tools=[pay])
"""


@pytest.mark.parametrize(("effect", "status", "sends"), [("keyed", "succeeded", 2), ("once", "waiting", 1)])
def test_a_process_killed_inside_a_tool_loses_nothing_and_repeats_no_once_call(
    server: EmbeddedRedis, tmp_path: Path, effect: str, status: str, sends: int
) -> None:
    from loopwright import load

    (tmp_path / "killed.py").write_text(textwrap.dedent(KILLED))
    (tmp_path / "killed_agent.py").write_text(textwrap.dedent(AGENT).replace("EFFECT", effect))
    done = subprocess.run([sys.executable, "killed.py", server.url], cwd=tmp_path, timeout=60, check=False)
    assert done.returncode == -signal.SIGKILL

    async def take_over() -> tuple[str, list[ev.Event]]:
        journal = RedisJournal(server.url)
        run_id = (await journal.runs("local"))[0].run_id
        agent = load(str(tmp_path / "killed_agent.py"))[0]
        give_up = time.monotonic() + 60
        while True:
            try:
                result = await resume_run(agent, run_id, journal=journal, endpoint=ScriptedEndpoint([answer("done")]))
                break
            except RunBusy:
                assert time.monotonic() < give_up
                await asyncio.sleep(0.2)
        events = [stored.event for stored in await journal.read(run_id)]
        await journal.aclose()
        return result.status, events

    got, events = asyncio.run(take_over())
    keys = (tmp_path / "payments.log").read_text().split()
    assert (got, len(keys), len(set(keys))) == (status, sends, 1)
    assert fold(events).attempts == 2


def test_a_redis_that_goes_away_in_mid_step_stops_the_run_and_loses_nothing_acknowledged(tmp_path: Path) -> None:
    server = EmbeddedRedis(tmp_path / "data")
    server.start()
    acknowledged: list[str] = []

    @tool(effect="keyed")
    async def cut(key: str) -> str:
        """Cut the line once."""
        if not acknowledged:
            acknowledged.extend(each.event.type for each in await journal.read((await journal.runs("local"))[0].run_id))
            os.kill(server.pid or 0, signal.SIGKILL)
        return "cut"

    agent = make_agent(cut)

    async def first() -> None:
        with pytest.raises(JournalUnavailable):
            model = ScriptedEndpoint([call("cut", key="a"), answer("x")])
            await run_agent(agent, "t", endpoint=model, journal=journal, lease_s=1.0)
        await journal.aclose()

    async def second() -> None:
        fresh = RedisJournal(server.url)
        run_id = (await fresh.runs("local"))[0].run_id
        types = [stored.event.type for stored in await fresh.read(run_id)]
        assert types[: len(acknowledged)] == acknowledged
        result = None
        give_up = time.monotonic() + 60
        while result is None:
            assert time.monotonic() < give_up
            with contextlib.suppress(RunBusy):
                result = await resume_run(agent, run_id, journal=fresh, endpoint=ScriptedEndpoint([answer("x")] * 2))
            await asyncio.sleep(0.2)
        assert result.status == "succeeded"
        assert [event.type for event in [each.event for each in await fresh.read(run_id)]].count("call.finished") == 1
        await fresh.aclose()

    journal = RedisJournal(server.url, patience_s=1.0, timeout_s=1.0)
    asyncio.run(first())
    server.stop()
    server.start()
    try:
        asyncio.run(second())
    finally:
        server.stop()
