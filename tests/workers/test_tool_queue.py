"""Calls of queued tools: made elsewhere, by the same rules as here, whatever dies or gets lost on the way."""

import asyncio
import contextlib
import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from loopwright import Agent, Context, Limits, RunResult, load, resume_run, tool
from loopwright.agents.registry import Registry
from loopwright.errors import RunBusy
from loopwright.memory.client import make_client
from loopwright.memory.journal.ids import new_run_id
from loopwright.memory.journal.redis import RedisJournal
from loopwright.memory.journal.remote import RemoteCalls
from loopwright.planner import events as ev
from loopwright.planner.answers import review_call
from loopwright.planner.state import RunState, fold, state_digest
from loopwright.testing import ScriptedEndpoint, answer, call, calls
from loopwright.workers.doorbell import Doorbell
from loopwright.workers.tool_queue import QueuedTools, ToolBench

from ..planner.agents_under_test import lookup, make_agent
from ..servers import RedisServer, ServerMissing, redis_server

ROOT = Path(__file__).parents[2]
PATIENCE_S = 60.0
LEASE_S = 0.6


@pytest.fixture(scope="module")
def one_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    try:
        with redis_server("system", tmp_path_factory.mktemp("redis")) as server:
            yield server
    except ServerMissing as missing:
        if os.environ.get("CI"):
            pytest.fail(str(missing))
        pytest.skip(str(missing))


class Bell:
    """Hands messages to a tool worker in this process: `copies` of each, after dropping the first `lost`."""

    def __init__(self, *, copies: int = 1, lost: int = 0) -> None:
        self.bench: ToolBench | None = None
        self.copies = copies
        self.lost = lost
        self.messages: list[Any] = []
        self.rung: list[str] = []
        self.work: list[asyncio.Task[None]] = []

    async def ring(self, run_id: str, priority: str = "normal") -> None:
        self.rung.append(run_id)

    async def ring_tool(self, name: str, payload: Mapping[str, Any] | str) -> None:
        self.messages.append(payload)
        if len(self.messages) > self.lost and self.bench:
            self.work += [asyncio.ensure_future(self.bench.run(payload)) for _ in range(self.copies)]


class Shop:
    """A service in one process: journal, queue, tool worker, and runs that are driven whenever they are due."""

    def __init__(
        self, journal: RedisJournal, calls: RemoteCalls, agent: Agent[Any], bell: Any, resend_s: float
    ) -> None:
        self.journal = journal
        self.calls = calls
        self.agent = agent
        self.bell = bell
        self.remote = QueuedTools(calls, bell, resend_s=resend_s)

    async def submit(self) -> str:
        created = ev.RunCreated(
            new_run_id("local"), "local", self.agent.name, self.agent.hash, "t", self.agent.limits.as_dict(),
            created_ms=time.time_ns() // 1_000_000,
        )  # fmt: skip
        await self.journal.create(created)
        return created.run_id

    async def drive(self, run_id: str, *replies: Any, until: Callable[[RunState], bool] | None = None) -> RunState:
        """Take the run up whenever it is due, until it is final or what `until` says of it."""
        model = ScriptedEndpoint(replies)
        async with asyncio.timeout(PATIENCE_S):
            while True:
                if run_id in await self.journal.due():
                    result = await self.resume(run_id, model)
                    if result and (result.state.is_final or (until and until(result.state))):
                        return result.state
                await asyncio.sleep(0.01)

    async def resume(self, run_id: str, model: ScriptedEndpoint, **hooks: Any) -> RunResult[Any] | None:
        with contextlib.suppress(RunBusy):
            return await resume_run(
                self.agent, run_id, journal=self.journal, endpoint=model, remote=self.remote, **hooks
            )
        return None

    async def events(self, run_id: str) -> list[ev.Event]:
        return [stored.event for stored in await self.journal.read(run_id)]


@asynccontextmanager
async def shop(
    server: RedisServer, agent: Agent[Any], *, resend_s: float = 30.0, lease_s: float = 15.0, bell: Bell | None = None
) -> AsyncIterator[Shop]:
    server.command("FLUSHALL")
    journal, client = RedisJournal(server.url), make_client(server.url)
    remote_calls, bell = RemoteCalls(client), bell or Bell()
    bell.bench = bench = ToolBench(remote_calls, Registry([agent]), bell, lease_s=lease_s, beat_s=0.02)
    try:
        yield Shop(journal, remote_calls, agent, bell, resend_s)
        if bell.work:
            await asyncio.wait(bell.work, timeout=PATIENCE_S)
    finally:
        await bench.aclose()
        await journal.aclose()
        await client.aclose()


def in_shop(server: RedisServer, agent: Agent[Any], act: Callable[[Shop], Awaitable[None]], **options: Any) -> None:
    async def go() -> None:
        async with shop(server, agent, **options) as here:
            await act(here)

    asyncio.run(go())


async def soon(holds: Callable[[], Any]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not holds():
            await asyncio.sleep(0.005)


def waits(state: RunState) -> bool:
    return state.status == "waiting"


# --- one process, many accidents -----------------------------------------------------------------------------


def test_the_run_gives_its_slot_back_while_the_tool_works_and_goes_on_with_the_result(one_server: RedisServer) -> None:
    gate = asyncio.Event()

    @tool(queue="gpu", effect="keyed", max_result_tokens=16)
    async def train(context: Context, epochs: int) -> str:
        """Train."""
        await gate.wait()
        return f"{context.key} {context.attempt} {context.agent} " + "loss " * 200 * epochs

    async def act(here: Shop) -> None:
        run_id = await here.submit()
        replies = [call("train", epochs=1), answer("trained")]
        model = ScriptedEndpoint(replies)
        first = await here.resume(run_id, model)
        assert first is not None
        assert (first.status, first.state.reason) == ("waiting", "tool")
        assert await here.journal.due() == []
        gate.set()
        await soon(lambda: here.bell.rung == [run_id])
        assert await here.journal.due() == [run_id]
        second = await here.resume(run_id, model)
        assert second is not None
        assert second.output == "trained"
        done = second.state.observed[0].calls[0]
        assert done.text.startswith(f"{run_id}/1.1 1 tester loss")
        assert done.artifact == "r1.1"
        whole = await here.journal.artifact(run_id, "r1.1")
        assert whole is not None
        assert len(whole) == done.size > 1000
        events = await here.events(run_id)
        kinds = [event.type for event in events]
        assert kinds.index("call.intended") < kinds.index("run.waiting") < kinds.index("call.finished")
        assert state_digest(fold(events)) == state_digest(second.state)
        assert one_server.command("KEYS", "*:c") == b"*0\r\n"

    in_shop(one_server, make_agent(train), act)


def test_queued_and_local_calls_of_one_step_are_made_at_the_same_time(one_server: RedisServer) -> None:
    running: set[str] = set()
    together: list[set[str]] = []

    async def meet(name: str) -> str:
        running.add(name)
        await soon(lambda: len(running) == 3)
        together.append(set(running))
        return name

    @tool(queue="gpu", effect="read")
    async def left() -> str:
        """Left."""
        return await meet("left")

    @tool(queue="cpu")
    async def right() -> str:
        """Right."""
        return await meet("right")

    @tool(effect="read")
    async def local() -> str:
        """Local."""
        return await meet("local")

    async def act(here: Shop) -> None:
        run_id = await here.submit()
        step = calls(("left", {}), ("right", {}), ("local", {}))
        state = await here.drive(run_id, step, answer("met"))
        assert (state.status, together[0]) == ("succeeded", {"left", "right", "local"})
        assert [each.text for each in state.observed[0].calls] == ["left", "right", "local"]
        assert [each.error for each in state.observed[0].calls] == [None] * 3

    in_shop(one_server, make_agent(left, right, local), act)


def counting(made: list[str], **options: Any) -> Any:
    @tool(**{"queue": "gpu", **options})
    async def act(context: Context) -> str:
        """Do something in the world."""
        made.append(f"{context.key} {context.attempt}")
        return "acted"

    return act


@pytest.mark.parametrize("effect", ["read", "keyed", "once"])
def test_a_message_that_comes_five_times_makes_one_call(one_server: RedisServer, effect: str) -> None:
    made: list[str] = []

    async def act(here: Shop) -> None:
        run_id = await here.submit()
        assert (await here.drive(run_id, call("act"), answer("x"))).status == "succeeded"
        assert made == [f"{run_id}/1.1 1"]
        for payload in here.bell.messages * 3:
            await here.bell.bench.run(payload)
        assert len(made) == 1

    in_shop(one_server, make_agent(counting(made, effect=effect)), act, bell=Bell(copies=5))


@pytest.mark.parametrize("effect", ["read", "keyed", "once"])
def test_a_message_that_is_lost_is_sent_again_and_the_call_made_once(one_server: RedisServer, effect: str) -> None:
    made: list[str] = []

    async def act(here: Shop) -> None:
        run_id = await here.submit()
        assert (await here.drive(run_id, call("act"), answer("x"))).status == "succeeded"
        assert made == [f"{run_id}/1.1 1"]
        assert len(here.bell.messages) == 3
        assert [event.type for event in await here.events(run_id)].count("call.intended") == (effect != "read")

    in_shop(one_server, make_agent(counting(made, effect=effect)), act, bell=Bell(lost=2), resend_s=0.05)


def test_cancelling_the_run_stops_the_tool_where_it_is(one_server: RedisServer) -> None:
    seen: list[str] = []

    @tool(queue="gpu")
    async def slow() -> str:
        """Take long."""
        seen.append("started")
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            seen.append("stopped")
            raise
        return "unreachable"

    async def act(here: Shop) -> None:
        run_id = await here.submit()
        await here.resume(run_id, ScriptedEndpoint([call("slow")]))
        await soon(lambda: "started" in seen)
        await here.journal.request_cancel(run_id, "enough")
        await soon(lambda: "stopped" in seen)
        state = await here.drive(run_id)
        assert (state.status, state.reason) == ("cancelled", "enough")
        assert [event.type for event in await here.events(run_id)][-2:] == ["call.in_doubt", "run.cancelled"]

    in_shop(one_server, make_agent(slow), act)


def test_a_cancelled_run_starts_no_call_whose_message_comes_late(one_server: RedisServer) -> None:
    made: list[str] = []

    async def act(here: Shop) -> None:
        run_id = await here.submit()
        await here.resume(run_id, ScriptedEndpoint([call("act")]))
        await here.journal.request_cancel(run_id, "enough")
        await here.bell.bench.run(here.bell.messages[0])
        assert (await here.drive(run_id)).status == "cancelled"
        await here.bell.bench.run(here.bell.messages[0])
        assert made == []

    in_shop(one_server, make_agent(counting(made)), act, bell=Bell(lost=9))


@pytest.mark.parametrize(("effect", "status"), [("read", "succeeded"), ("keyed", "succeeded"), ("once", "waiting")])
def test_a_time_out_elsewhere_means_what_it_means_here(one_server: RedisServer, effect: Any, status: str) -> None:
    @tool(queue="gpu", effect=effect, timeout_s=0.05)
    async def slow() -> str:
        """Take long."""
        await asyncio.sleep(3600)
        return "unreachable"

    async def act(here: Shop) -> None:
        run_id = await here.submit()
        state = await here.drive(run_id, call("slow"), answer("x"), until=lambda state: state.reason == "in_doubt")
        assert state.status == status
        if status == "succeeded":
            assert state.observed[0].calls[0].error == "tool_timed_out"

    in_shop(one_server, make_agent(slow), act)


def test_the_runs_deadline_ends_the_tool_too(one_server: RedisServer) -> None:
    @tool(queue="gpu", effect="read", timeout_s=600)
    async def slow() -> str:
        """Take long."""
        await asyncio.sleep(3600)
        return "unreachable"

    async def act(here: Shop) -> None:
        run_id = await here.submit()
        state = await here.drive(run_id, call("slow"), answer("x"))
        assert (state.status, state.reason) == ("expired", "deadline")

    in_shop(one_server, make_agent(slow, limits=Limits(deadline_s=0.3)), act)


def test_what_reaches_a_queued_tool_is_validated_in_full_and_approved_byte_for_byte(one_server: RedisServer) -> None:
    got: list[int] = []

    @tool(queue="gpu", approval=True)
    async def pay(amount: int) -> str:
        """Pay."""
        got.append(amount)
        return "paid"

    async def act(here: Shop) -> None:
        run_id = await here.submit()
        model = ScriptedEndpoint([call("pay", amount="much"), call("pay", amount=3), answer("x")])
        first = await here.resume(run_id, model)
        assert first is not None
        assert (first.state.reason, here.bell.messages) == ("approval", [])
        await review_call(here.journal, run_id, "2.1", approved=True, arguments='{ "amount": 2 }', agent=here.agent)
        second = await here.resume(run_id, model)
        assert second is not None
        assert second.state.reason == "tool"
        assert (await here.drive(run_id, answer("x"))).status == "succeeded"
        assert got == [2]

    in_shop(one_server, make_agent(pay), act)


def test_a_tool_worker_with_other_files_says_so(one_server: RedisServer) -> None:
    made: list[str] = []
    agent = make_agent(counting(made))

    async def act(here: Shop) -> None:
        for others, error in (([], "agent_missing"), ([make_agent(counting(made), lookup)], "agent_changed")):
            here.bell.bench = ToolBench(here.calls, Registry(others), here.bell)
            run_id = await here.submit()
            state = await here.drive(run_id, call("act"), answer("x"))
            done = state.observed[0].calls[0]
            assert (state.status, done.error) == ("succeeded", error)
            assert "has to load the same files" in done.text
        assert made == []

    in_shop(one_server, agent, act)


def test_the_page_is_true() -> None:
    names: dict[str, Any] = {"__name__": "page"}
    for block in re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "queue-tools.md").read_text(), re.DOTALL):
        exec(compile(block, "docs/queue-tools.md", "exec"), names)
    assert "model" in names


def test_without_a_queue_to_send_to_queued_tools_run_here() -> None:
    made: list[str] = []
    result = make_agent(counting(made)).run_sync("t", endpoint=ScriptedEndpoint([call("act"), answer("x")]))
    assert (result.status, len(made)) == ("succeeded", 1)


def test_an_agent_used_as_a_tool_waits_for_its_queued_tools_and_its_parent_with_it(one_server: RedisServer) -> None:
    made: list[str] = []
    inner = make_agent(counting(made), name="inner", description="Acts.")
    outer = make_agent(inner.as_tool(), name="outer")

    async def act(here: Shop) -> None:
        here.bell.bench = ToolBench(here.calls, Registry([outer]), here.bell)
        run_id = await here.submit()
        replies = {"outer": [call("inner", task="act"), answer("all done")], "inner": [call("act"), answer("it acted")]}
        model = ScriptedEndpoint([replies["outer"][0], replies["inner"][0]])
        first = await here.resume(run_id, model)
        assert first is not None
        assert (first.status, first.state.reason) == ("waiting", "tool")
        (child,) = first.state.awaited
        await soon(lambda: child in here.bell.rung)
        here.agent = inner
        assert (await here.drive(child, replies["inner"][1])).status == "succeeded"
        here.agent = outer
        state = await here.drive(run_id, replies["outer"][1])
        assert (state.output, made) == ('"all done"', [f"{child}/1.1 1"])
        assert state.observed[0].calls[0].text == "it acted"

    in_shop(one_server, outer, act)


# --- silence -------------------------------------------------------------------------------------------------


async def silent(here: Shop, *replies: Any) -> tuple[str, ScriptedEndpoint]:
    """Let a tool worker take the call and never be heard of again; return the run."""
    run_id = await here.submit()
    model = ScriptedEndpoint(replies)
    await here.resume(run_id, model)
    assert await here.calls.start(run_id, "1.1", 1, "silent", ttl_s=0.01)
    await asyncio.sleep(0.05)
    return run_id, model


def test_the_late_result_of_a_worker_that_was_given_up_settles_the_doubt(one_server: RedisServer) -> None:
    made: list[str] = []

    async def act(here: Shop) -> None:
        run_id, model = await silent(here, call("act"), answer("x"))
        doubtful = await here.resume(run_id, model)
        assert doubtful is not None
        assert (doubtful.status, doubtful.state.reason) == ("waiting", "in_doubt")
        left = '["acted after all",null,15,1,3,false]'
        assert await here.calls.deposit(run_id, "1.1", "silent", left) == "normal"
        assert await here.journal.due() == [run_id]
        settled = await here.resume(run_id, model)
        assert settled is not None
        assert settled.status == "succeeded"
        assert settled.state.observed[0].calls[0].text == "acted after all"
        assert made == []

    in_shop(one_server, make_agent(counting(made)), act, bell=Bell(lost=99))


def test_the_late_result_of_an_attempt_that_was_repeated_is_not_taken(one_server: RedisServer) -> None:
    made: list[str] = []

    async def act(here: Shop) -> None:
        run_id, model = await silent(here, call("act"), answer("x"))
        here.bell.lost = 0
        again = await here.resume(run_id, model)
        assert again is not None
        assert again.state.reason == "tool"
        assert await here.calls.deposit(run_id, "1.1", "silent", '["late",null,4,1,3,false]') is None
        state = await here.drive(run_id, answer("x"))
        assert [each.text for each in state.observed[0].calls] == ["acted"]
        assert made == [f"{run_id}/1.1 2"]

    in_shop(one_server, make_agent(counting(made, effect="keyed")), act, bell=Bell(lost=99))


def test_a_call_that_loses_every_worker_that_makes_it_fails_and_the_run_goes_on(one_server: RedisServer) -> None:
    async def act(here: Shop) -> None:
        run_id, model = await silent(here, call("act"), answer("x"))
        for attempt in (2, 3):
            result = await here.resume(run_id, model)
            assert result is not None
            assert result.state.reason == "tool"
            assert await here.calls.start(run_id, "1.1", attempt, f"silent{attempt}", ttl_s=0.01)
            await asyncio.sleep(0.05)
        result = await here.resume(run_id, model)
        assert result is not None
        done = result.state.observed[0].calls[0]
        assert (result.status, done.error) == ("succeeded", "worker_lost")
        assert "ended 3 times while it ran" in done.text

    in_shop(one_server, make_agent(counting([], effect="read")), act, bell=Bell(lost=99))


def test_a_registration_that_is_lost_leaves_a_once_call_in_doubt_and_repeats_others(one_server: RedisServer) -> None:
    for effect, reason in (("once", "in_doubt"), ("keyed", "tool")):
        made: list[str] = []

        async def act(here: Shop, reason: str = reason) -> None:
            run_id = await here.submit()
            model = ScriptedEndpoint([call("act"), answer("x")])
            await here.resume(run_id, model)
            one_server.command("DEL", f"{{s{run_id[:2]}}}:run:{run_id}:c")
            result = await here.resume(run_id, model)
            assert result is not None
            assert result.state.reason == reason

        in_shop(one_server, make_agent(counting(made, effect=effect)), act, bell=Bell(lost=99))


class Died(BaseException):
    """The run's worker ends here."""


@pytest.mark.parametrize("effect", ["keyed", "once"])
@pytest.mark.parametrize("dies_in", ["barrier before the message", "message", "look after the message"])
def test_a_run_worker_that_dies_while_it_sends_loses_and_repeats_nothing(
    one_server: RedisServer, effect: str, dies_in: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []

    async def act(here: Shop) -> None:
        run_id = await here.submit()

        class Dying:
            def __getattr__(self, name: str) -> Any:
                return getattr(here.remote, name)

            async def send(self, lease: Any, sent: Any) -> None:
                if dies_in != "look after the message":
                    raise Died
                await here.remote.send(lease, sent)
                await asyncio.gather(*here.bell.work)
                raise Died

            async def register(self, lease: Any, sent: Any) -> None:
                await here.remote.register(lease, sent)
                if dies_in == "barrier before the message":
                    raise Died

        model = ScriptedEndpoint([call("act"), answer("x")])
        with pytest.raises(Died):
            await resume_run(here.agent, run_id, journal=here.journal, endpoint=model, remote=Dying(), lease_s=0.05)
        await asyncio.sleep(0.1)
        second = await here.resume(run_id, model)
        assert second is not None
        state = second.state if second.state.is_final else await here.drive(run_id, answer("x"))
        assert state.status == "succeeded"
        assert made == [f"{run_id}/1.1 1"]

    in_shop(one_server, make_agent(counting(made, effect=effect)), act, resend_s=0.05)


# --- tool workers that are killed ----------------------------------------------------------------------------

AGENT = """
    import os, signal, time
    from pathlib import Path
    from loopwright import Agent, Context, Reconciled, tool

    LOG = Path(__file__).with_name("made.log")

    def found_out(key):
        return Reconciled("RECONCILED", "made before")

    @tool(queue="gpu", effect="EFFECT", RECONCILE)
    def make(context: Context) -> str:
        "Make something."
        with LOG.open("a") as log:
            log.write(f"{context.key} {context.attempt}\\n")
        if len(LOG.read_text().splitlines()) == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return "made"

    @tool(queue="gpu", effect="read")
    def block() -> str:
        "Block for ever."
        LOG.write_text("blocking")
        time.sleep(3600)
        return "unreachable"

    agent = Agent(name="maker", instructions="Make.", tools=[make, block])
"""


@contextlib.contextmanager
def tool_worker(server: RedisServer, agents: Path) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "tests.workers.tool_process", server.url, "gpu", str(agents), str(LEASE_S)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process
    finally:
        process.kill()
        process.wait(30)
        if process.stdout:
            process.stdout.close()


def write_agent(folder: Path, effect: str, reconciled: str | None) -> Path:
    path = folder / "makers.py"
    text = textwrap.dedent(AGENT).replace("EFFECT", effect).replace("RECONCILED", reconciled or "unknown")
    path.write_text(text.replace("RECONCILE", "reconcile=found_out" if reconciled else ""))
    return path


@asynccontextmanager
async def service(server: RedisServer, agent: Agent[Any]) -> AsyncIterator[Shop]:
    server.command("FLUSHALL")
    journal, client = RedisJournal(server.url), make_client(server.url)
    bell = Doorbell(client)
    try:
        yield Shop(journal, RemoteCalls(client), agent, bell, 30.0)
    finally:
        await bell.aclose()
        await journal.aclose()
        await client.aclose()


@pytest.mark.parametrize(
    ("effect", "reconciled", "status", "attempts", "text"),
    [
        ("read", None, "succeeded", [1, 2], "made"),
        ("keyed", None, "succeeded", [1, 2], "made"),
        ("once", None, "waiting", [1], None),
        ("once", "unknown", "waiting", [1], None),
        ("once", "done", "succeeded", [1], "made before"),
        ("once", "not_sent", "succeeded", [1, 2], "made"),
    ],
)
def test_a_tool_worker_killed_in_the_middle_is_made_good_by_the_tools_effect(
    one_server: RedisServer, tmp_path: Path, effect: str, reconciled: str | None, status: str, attempts: list[int],
    text: str | None,
) -> None:  # fmt: skip
    path = write_agent(tmp_path, effect, reconciled)
    agent = load(str(path))[0]

    async def go() -> None:
        async with service(one_server, agent) as here:
            run_id = await here.submit()
            work = asyncio.ensure_future(
                here.drive(run_id, call("make"), answer("x"), until=lambda state: state.reason == "in_doubt")
            )
            with tool_worker(one_server, path) as first:
                assert await asyncio.to_thread(first.wait, PATIENCE_S) == -signal.SIGKILL
            with tool_worker(one_server, path):
                state = await work
            made = [line.split() for line in (tmp_path / "made.log").read_text().splitlines()]
            assert state.status == status
            assert made == [[f"{run_id}/1.1", str(attempt)] for attempt in attempts]
            if text is not None:
                assert state.observed[0].calls[0].text == text
            kinds = [event.type for event in await here.events(run_id)]
            assert kinds.count("call.in_doubt") == (status == "waiting")

    asyncio.run(go())


def test_a_blocking_tool_of_a_cancelled_run_ends_with_its_process(one_server: RedisServer, tmp_path: Path) -> None:
    path = write_agent(tmp_path, "read", None)
    agent = load(str(path))[0]

    async def go() -> None:
        async with service(one_server, agent) as here:
            run_id = await here.submit()
            with tool_worker(one_server, path) as process:
                await here.resume(run_id, ScriptedEndpoint([call("block")]))
                await soon((tmp_path / "made.log").exists)
                await here.journal.request_cancel(run_id, "enough")
                assert await asyncio.to_thread(process.wait, PATIENCE_S) == 1
            assert (await here.drive(run_id)).status == "cancelled"

    asyncio.run(go())
