"""A process that dies at any journal boundary: the next one finishes the run under each tool's effect policy."""

import asyncio
from typing import Any

import pytest

from loopwright import Agent, Reconciled, resume_run, run_agent, tool
from loopwright.errors import AgentChanged, RunBusy
from loopwright.memory.journal.in_memory import InMemoryJournal
from loopwright.planner import events as ev
from loopwright.planner.state import fold
from loopwright.testing import ScriptedEndpoint, answer, call

from .agents_under_test import make_agent

BOUNDARIES = (
    "run.started", "step.decided", "call.intended", "barrier before the tool", "inside the tool",
    "call.finished", "answer",
)  # fmt: skip


class Crash(BaseException):
    """The process dies: nothing after this line runs."""


class DyingJournal(InMemoryJournal):
    """Dies once, right before the named event is stored, or at the barrier in front of a tool."""

    def __init__(self, dies_at: str | None, clock: Any) -> None:
        super().__init__(clock=clock)
        self.dies_at = dies_at

    def append(self, lease: Any, *events: ev.Event, artifacts: Any = None) -> None:
        for event in events:
            name = "answer" if isinstance(event, ev.StepDecided) and event.answer else event.type
            if self.dies_at == name and "run.started" in (name, *self.types(lease.run_id)):
                self.die()
        super().append(lease, *events, artifacts=artifacts)

    async def barrier(self, lease: Any, *, durable: bool = False) -> None:
        if self.dies_at == "barrier before the tool" and self.types(lease.run_id)[-1] == "call.intended":
            self.die()
        await super().barrier(lease, durable=durable)

    def types(self, run_id: str) -> list[str]:
        return self.seen.setdefault(run_id, [])

    def die(self) -> None:
        self.dies_at = None
        raise Crash

    @property
    def seen(self) -> dict[str, list[str]]:
        if not hasattr(self, "_seen"):
            self._seen: dict[str, list[str]] = {}
        return self._seen


class Recording(DyingJournal):
    """Remembers the types of what was stored."""

    def append(self, lease: Any, *events: ev.Event, artifacts: Any = None) -> None:
        super().append(lease, *events, artifacts=artifacts)
        self.types(lease.run_id).extend(event.type for event in events)


class World:
    """What the tool did, and when it shall die."""

    def __init__(self, effect: str, dies_inside: bool, reconcile: str | None = None) -> None:
        self.sent: list[str] = []
        self.dies_inside = dies_inside

        def found_out(key: str) -> Reconciled:
            return Reconciled("done", "done before") if reconcile == "done" else Reconciled(reconcile)  # type: ignore[arg-type]

        from loopwright import Context

        @tool(effect=effect, reconcile=found_out if reconcile else None)  # type: ignore[arg-type]
        async def act(context: Context) -> str:
            """Do something in the world."""
            self.sent.append(context.key)
            if self.dies_inside:
                self.dies_inside = False
                raise Crash
            return "acted"

        self.agent: Agent[Any] = make_agent(act)


def model() -> ScriptedEndpoint:
    """A model that acts once and answers with what it saw."""

    def reply(request: Any) -> str:
        said = [message for message in request.messages if message.role == "assistant"]
        return call("act") if not said else answer(request.messages[-1].content)

    return ScriptedEndpoint([reply] * 9)


def storm(world: World, dies_at: str | None) -> tuple[Any, list[ev.Event]]:
    """Run until the process dies, then let another one take over; return the final state and the journal."""
    now = [1_000.0]
    journal = Recording(dies_at, clock=lambda: now[0])

    async def first() -> None:
        with pytest.raises(Crash):
            await run_agent(world.agent, "t", endpoint=model(), journal=journal, now_ms=lambda: int(now[0] * 1000))

    async def second() -> Any:
        run_id = (await journal.runs("local"))[0].run_id
        with pytest.raises(RunBusy):
            await resume_run(world.agent, run_id, journal=journal, endpoint=model())
        now[0] += 60
        result = await resume_run(
            world.agent, run_id, journal=journal, endpoint=model(), now_ms=lambda: int(now[0] * 1000)
        )
        return result, [stored.event for stored in await journal.read(run_id)]

    asyncio.run(first())
    return asyncio.run(second())


def scenario(effect: str, boundary: str, reconcile: str | None = None) -> tuple[World, Any, list[ev.Event]]:
    world = World(effect, boundary == "inside the tool", reconcile)
    result, journal = storm(world, None if boundary == "inside the tool" else boundary)
    return world, result, journal


SENT_BEFORE = {"inside the tool", "call.finished", "answer"}
IN_DOUBT = {"barrier before the tool", "inside the tool", "call.finished"}


@pytest.mark.parametrize(
    "boundary", [name for name in BOUNDARIES if name not in ("call.intended", "barrier before the tool")]
)
def test_a_read_call_runs_again_unless_its_result_was_stored(boundary: str) -> None:
    world, result, _journal = scenario("read", boundary)
    assert result.status == "succeeded"
    assert len(world.sent) == (2 if boundary in ("inside the tool", "call.finished") else 1)


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_a_keyed_call_runs_again_with_the_same_key(boundary: str) -> None:
    world, result, journal = scenario("keyed", boundary)
    assert result.status == "succeeded"
    assert len(set(world.sent)) == 1
    assert len(world.sent) == (2 if boundary in ("inside the tool", "call.finished") else 1)
    intents = [event for event in journal if isinstance(event, ev.CallIntended)]
    assert [intent.attempt for intent in intents] == list(range(1, len(intents) + 1))


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_a_once_call_is_never_sent_twice(boundary: str) -> None:
    world, result, journal = scenario("once", boundary)
    assert len(world.sent) <= 1
    if boundary in IN_DOUBT:
        assert (result.status, result.state.reason) == ("waiting", "in_doubt")
        assert any(isinstance(event, ev.CallInDoubt) for event in journal)
    else:
        assert result.status == "succeeded"
        assert len(world.sent) == 1


@pytest.mark.parametrize("boundary", sorted(IN_DOUBT))
def test_a_once_call_that_can_be_looked_up_is_settled(boundary: str) -> None:
    world, result, _journal = scenario("once", boundary, reconcile="done")
    assert result.status == "succeeded"
    assert "done before" in result.output
    assert len(world.sent) <= 1


def test_a_once_call_that_surely_was_not_sent_is_sent() -> None:
    world, result, _journal = scenario("once", "barrier before the tool", reconcile="not_sent")
    assert result.status == "succeeded"
    assert len(world.sent) == 1


def test_an_agent_that_asks_to_be_told_answers_in_spite_of_the_doubt() -> None:
    world = World("once", dies_inside=True)
    world.agent = make_agent(*world.agent.tools, in_doubt="tell")
    result, _journal = storm(world, None)
    assert result.status == "succeeded"
    assert "not known whether this call took effect" in result.output
    assert len(world.sent) == 1


def test_a_journal_of_every_crash_folds_to_the_same_end() -> None:
    for boundary in BOUNDARIES:
        _world, result, journal = scenario("keyed", boundary)
        assert fold(journal) == result.state
        assert [event.type for event in journal].count("run.succeeded") == 1


def test_a_run_of_another_definition_is_not_carried_on() -> None:
    world = World("read", dies_inside=True)
    changed = make_agent(*world.agent.tools, instructions="Something else.")
    now = [1_000.0]
    journal = InMemoryJournal(clock=lambda: now[0])

    async def go() -> None:
        with pytest.raises(Crash):
            await run_agent(world.agent, "t", endpoint=model(), journal=journal)
        now[0] += 60
        run_id = (await journal.runs("local"))[0].run_id
        with pytest.raises(AgentChanged):
            await resume_run(changed, run_id, journal=journal, endpoint=model())
        result = await resume_run(world.agent, run_id, journal=journal, endpoint=model())
        assert result.status == "succeeded"

    asyncio.run(go())


def test_a_once_call_that_was_sent_is_left_in_doubt_when_the_run_expires() -> None:
    world = World("once", dies_inside=True)
    now = [1_000.0]
    journal = InMemoryJournal(clock=lambda: now[0])

    async def go() -> list[str]:
        with pytest.raises(Crash):
            await run_agent(world.agent, "t", endpoint=model(), journal=journal, now_ms=lambda: int(now[0] * 1000))
        now[0] += 10_000
        run_id = (await journal.runs("local"))[0].run_id
        result = await resume_run(
            world.agent, run_id, journal=journal, endpoint=model(), now_ms=lambda: int(now[0] * 1000)
        )
        assert result.status == "expired"
        return [stored.event.type for stored in await journal.read(run_id)]

    assert asyncio.run(go())[-2:] == ["call.in_doubt", "run.expired"]
    assert len(world.sent) == 1
