"""How a run leaves a worker without ending: drains, models that are away, agents that are elsewhere, and poison."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from loopwright import tool
from loopwright.errors import AgentChanged, EndpointTimedOut, EndpointUnavailable
from loopwright.memory.journal.contract import Claim
from loopwright.memory.journal.ids import new_run_id
from loopwright.memory.journal.in_memory import InMemoryJournal
from loopwright.planner import events as ev
from loopwright.planner.child import run_child
from loopwright.planner.drive import drive_claim
from loopwright.planner.loop import Surroundings
from loopwright.planner.state import RunState, fold
from loopwright.planner.stray import drive_stray
from loopwright.testing import ScriptedEndpoint, answer, call

from .agents_under_test import lookup, make_agent

AWAY = EndpointUnavailable("e", "connection refused")


class Place:
    """A run on a journal whose clock the test moves, claimed by one worker after the other."""

    def __init__(self, agent: Any = None, **created: Any) -> None:
        self.now_s = 1_000.0
        self.journal = InMemoryJournal(clock=lambda: self.now_s)
        self.agent = agent or make_agent(lookup)
        self.run_id = new_run_id("local")
        self.created = ev.RunCreated(
            self.run_id, "local", "tester", self.agent.hash, "task", created_ms=1_000_000, **created
        )
        asyncio.run(self.journal.create(self.created))

    def claim(self) -> Claim:
        """Take the run as a worker does."""
        return asyncio.run(self.journal.claim(self.run_id, "w", ttl_s=15))

    def lose(self, times: int = 1) -> None:
        """Let so many workers die of the run."""
        for _ in range(times):
            self.claim()
            self.now_s += 16

    def around(self, *replies: Any, **options: Any) -> Surroundings:
        """Return the surroundings of a worker whose model gives these replies."""
        endpoint = options.pop("endpoint", None) or ScriptedEndpoint(replies)
        return Surroundings(
            endpoint, self.journal, now_ms=lambda: int(self.now_s * 1000), run_child=run_child, **options
        )

    def drive(self, *replies: Any, **options: Any) -> RunState:
        """Claim and drive."""
        return asyncio.run(self._drive(self.around(*replies, **options)))

    async def _drive(self, around: Surroundings) -> RunState:
        claim = await self.journal.claim(self.run_id, "w", ttl_s=15)
        return await drive_claim(self.agent, claim, around)

    def stray(self, why: str = "nobody has it") -> RunState:
        """Claim and do what can be done without the agent."""
        return asyncio.run(self._stray(why))

    async def _stray(self, why: str) -> RunState:
        claim = await self.journal.claim(self.run_id, "w", ttl_s=15)
        return await drive_stray(claim, self.around(), why)

    @property
    def events(self) -> list[ev.Event]:
        """What has happened."""
        return [each.event for each in asyncio.run(self.journal.read(self.run_id))]

    @property
    def released(self) -> list[str]:
        """Why the run was given back, each time."""
        return [each.reason for each in self.events if isinstance(each, ev.RunReleased)]

    def due_in(self, most_s: float) -> bool:
        """Return whether the run is due within so many seconds, but not before a tenth of them."""
        self.now_s += most_s / 10
        if asyncio.run(self.journal.due()):
            return False
        self.now_s += most_s * 0.9 + 0.01
        return asyncio.run(self.journal.due()) == [self.run_id]


def after(calls: int, reason: str) -> Callable[[], str | None]:
    """Return a `stop` that asks for the end at its so-manyeth time."""
    asked = [0]

    def stop() -> str | None:
        asked[0] += 1
        return reason if asked[0] > calls else None

    return stop


def test_a_run_is_handed_over_between_two_steps_and_goes_on_elsewhere() -> None:
    place = Place()
    state = place.drive(call("lookup", key="a"), answer("never asked"), stop=after(1, "drain"))
    assert (state.status, state.step, state.is_held, state.open) == ("running", 1, False, ())
    assert place.released == ["drain"]
    assert asyncio.run(place.journal.due()) == [place.run_id]
    state = place.drive(answer("x"))
    assert (state.status, state.attempts, state.losses) == ("succeeded", 2, 0)


def test_a_run_is_not_handed_over_while_a_call_is_open() -> None:
    seen: list[str] = []
    asked: list[str] = []
    place = Place()
    place.drive(
        call("lookup", key="a"), answer("x"), on_event=lambda event: seen.append(event.type),
        stop=lambda: asked.append(seen[-1]),
    )  # fmt: skip
    assert asked == ["run.started", "call.finished"]


@tool(effect="keyed")
async def slow() -> str:
    """Take long."""
    await asyncio.sleep(3600)
    return ""


def cut_off(place: Place, reason: str | None) -> RunState:
    """Cancel the task that drives a run in the middle of a call; `stop` gives the reason from then on."""
    told: list[str | None] = [None]

    async def go() -> None:
        driving = asyncio.create_task(place._drive(place.around(call("slow"), stop=lambda: told[0])))
        while "call.intended" not in [each.event.type for each in await place.journal.read(place.run_id)]:
            await asyncio.sleep(0)
        told[0] = reason
        driving.cancel()
        await asyncio.gather(driving, return_exceptions=True)

    asyncio.run(go())
    return fold(place.events)


def test_a_run_that_is_cut_off_by_a_drain_is_handed_over_and_not_cancelled() -> None:
    place = Place(make_agent(slow))
    state = cut_off(place, "drain")
    assert (state.status, place.released, state.is_held) == ("running", ["drain"], False)
    assert [each.call.id for each in state.open] == ["1.1"]


def test_a_caller_that_is_cancelled_for_another_reason_cancels_the_run() -> None:
    place = Place(make_agent(slow))
    assert cut_off(place, None).status == "cancelled"


@pytest.mark.parametrize("error", [AWAY, EndpointTimedOut("e", "no token")])
def test_a_run_waits_for_a_model_that_is_away_longer_and_longer(error: Exception) -> None:
    place = Place()
    for longest in (2.5, 5.0, 10.0):
        state = place.drive(error, model_patience_s=600)
        assert (state.status, state.is_held) == ("running", False)
        assert place.due_in(longest)
    assert place.released == ["model_unavailable"] * 3
    state = place.drive(answer("x"), model_patience_s=600)
    assert (state.status, state.losses, state.outages) == ("succeeded", 0, 0)


def test_a_model_that_stays_away_for_too_long_fails_the_run() -> None:
    place = Place()
    place.drive(AWAY, model_patience_s=600)
    place.now_s += 599
    assert place.drive(AWAY, model_patience_s=600).status == "running"
    place.now_s += 2
    state = place.drive(AWAY, model_patience_s=600)
    assert (state.status, state.reason) == ("failed", "model_unavailable")
    assert "connection refused" in state.detail


def test_patience_begins_anew_with_every_answer_of_the_model() -> None:
    place = Place()
    place.drive(AWAY, model_patience_s=60)
    place.now_s += 59
    place.drive(call("lookup", key="a"), AWAY, model_patience_s=60)
    place.now_s += 59
    assert place.drive(answer("x"), model_patience_s=60).status == "succeeded"


@pytest.mark.parametrize("patience", [None, 0])
def test_without_patience_an_unreachable_model_fails_the_run_at_once(patience: float | None) -> None:
    assert Place().drive(AWAY, model_patience_s=patience).reason == "model_unavailable"


def test_the_wait_for_a_model_does_not_outlast_the_deadline() -> None:
    place = Place(limits={"deadline_s": 1.0})
    place.drive(AWAY, model_patience_s=600)
    place.now_s += 1.1
    assert asyncio.run(place.journal.due()) == [place.run_id]
    assert place.drive(model_patience_s=600).status == "expired"


def test_a_run_of_which_three_workers_died_fails_before_it_is_touched() -> None:
    place = Place()
    place.lose(3)
    endpoint = ScriptedEndpoint([answer("x")])
    state = place.drive(endpoint=endpoint)
    assert (state.status, state.reason) == ("failed", "poison")
    assert endpoint.requests == []


def test_two_dead_workers_do_not_convict() -> None:
    place = Place()
    place.lose(2)
    assert place.drive(answer("x")).status == "succeeded"


def test_how_many_deaths_convict_is_a_setting() -> None:
    place = Place()
    place.lose(1)
    assert place.drive(answer("x"), max_losses=1).reason == "poison"


def test_a_step_clears_a_run_of_suspicion() -> None:
    place = Place()
    place.lose(2)
    place.drive(call("lookup", key="a"), stop=after(1, "stepped"))
    place.lose(2)
    assert place.drive(answer("x")).status == "succeeded"


def test_a_decision_alone_does_not_clear_a_run() -> None:
    """A tool that kills its worker may leave the decision behind each time."""
    place = Place()
    for _ in range(3):
        claim = place.claim()
        if not fold(each.event for each in claim.events).messages:
            place.journal.append(claim.lease, ev.RunStarted("head"))
        state = fold(place.events)
        if not state.open:
            place.journal.append(claim.lease, ev.StepDecided(1, "{}", (ev.ToolCall("1.1", "lookup", '{"key":"a"}'),)))
        place.now_s += 16
    assert place.drive(answer("x")).reason == "poison"


def test_a_doubtful_call_is_named_when_its_run_is_convicted() -> None:
    place = Place()
    claim = place.claim()
    place.journal.append(claim.lease, ev.RunStarted("head"))
    place.journal.append(claim.lease, ev.StepDecided(1, "{}", (ev.ToolCall("1.1", "send_email", "{}"),)))
    place.journal.append(claim.lease, ev.CallIntended("1.1", "send_email", "once", "k"))
    place.now_s += 16
    place.lose(2)
    place.drive()
    assert [each.type for each in place.events][-2:] == ["call.in_doubt", "run.failed"]


def test_history_is_asked_for_once_and_journaled_with_the_start() -> None:
    place = Place(thread_id="t")
    asked: list[str | None] = []

    async def history(state: RunState) -> tuple[ev.Said, ...]:
        asked.append(state.created.thread_id)
        return (ev.Said("user", "before"), ev.Said("assistant", "answered"))

    place.drive(call("lookup", key="a"), history=history, stop=after(1, "drain"))
    state = place.drive(answer("x"), history=history)
    assert asked == ["t"]
    assert [each.role for each in state.messages[:4]] == ["system", "user", "assistant", "user"]
    assert state.messages[1].content == "before"


def test_a_run_whose_agent_is_not_here_is_due_again_later_and_later() -> None:
    place = Place()
    for pause in (0.25, 0.5, 1):
        state = place.stray("no worker with agent 'tester' took it")
        assert (state.status, state.is_held) == ("running", False)
        assert place.due_in(pause)
    assert place.released == ["agent_missing"] * 3
    assert place.drive(answer("x")).status == "succeeded"


def test_another_definition_of_the_agent_gives_the_run_away() -> None:
    place = Place()
    place.agent = make_agent(lookup, instructions="Something else.")
    with pytest.raises(AgentChanged):
        place.drive(answer("x"))
    assert place.released == ["agent_missing"]
    assert fold(place.events).is_held is False


def test_a_stray_run_is_cancelled_expired_or_convicted_all_the_same() -> None:
    cancelled = Place()
    asyncio.run(cancelled.journal.request_cancel(cancelled.run_id, "enough"))
    assert cancelled.stray().status == "cancelled"
    expired = Place(limits={"deadline_s": 5.0})
    expired.now_s += 6
    assert expired.stray().status == "expired"
    killer = Place()
    killer.lose(3)
    assert killer.stray().reason == "poison"


def test_a_stray_run_is_due_at_its_deadline() -> None:
    place = Place(limits={"deadline_s": 0.5})
    place.stray()
    place.now_s += 0.6
    assert asyncio.run(place.journal.due()) == [place.run_id]


def test_an_agent_used_as_a_tool_waits_for_its_model_and_the_outer_run_with_it() -> None:
    inner = make_agent(lookup, name="inner")
    outer = make_agent(inner.as_tool(description="Ask the inner agent."))
    place = Place(outer)
    replies = [call("inner", task="t"), AWAY, answer("inner says"), answer("outer says")]
    state = place.drive(*replies, model_patience_s=600)
    assert (state.status, state.output) == ("succeeded", '"outer says"')
