"""A fork begins where a step of another run ended, and executes nothing of it again."""

import asyncio
from typing import Any

import pytest

from loopwright import RunResult, resume_run, review_call, run_agent, tool
from loopwright.errors import ForkInvalid
from loopwright.memory.journal.ids import new_run_id
from loopwright.memory.journal.in_memory import InMemoryJournal
from loopwright.planner import events as ev
from loopwright.planner.fork import artifacts_of, forked
from loopwright.planner.state import fold
from loopwright.testing import ScriptedEndpoint, answer, call, calls

from .agents_under_test import broken, long_text, lookup, make_agent

SEEN = (
    "status", "step", "messages", "observed", "open", "tokens", "tool_calls", "recent", "nudged", "rejections",
    "failures", "prompt_tokens", "new_chars", "compactions", "planned", "reflected", "truncated",
)  # fmt: skip
"""The fields of a state that a fork takes over."""

REPLIES = [
    call("lookup", key="a"), "garbage", calls(("lookup", {"key": "b"}), ("broken", {})),
    call("long_text", lines=300), answer("x"),
]  # fmt: skip


def story(*replies: Any, **options: Any) -> tuple[RunResult[Any], list[ev.Event], InMemoryJournal]:
    journal = InMemoryJournal()
    agent = make_agent(lookup, broken, long_text)
    result = asyncio.run(
        run_agent(agent, "t", endpoint=ScriptedEndpoint(replies, count=True), journal=journal, **options)
    )
    return result, [stored.event for stored in asyncio.run(journal.read(result.run_id))], journal


def first(source: ev.Event, **changes: Any) -> ev.RunCreated:
    assert isinstance(source, ev.RunCreated)
    given: dict[str, Any] = {
        "run_id": new_run_id("local"), "tenant": "local", "agent": source.agent, "agent_hash": source.agent_hash,
        "task": source.task, "limits": source.limits, "forked_from": source.run_id,
        "created_ms": source.created_ms, **changes,
    }  # fmt: skip
    return ev.RunCreated(**given)


def states_after_steps(events: list[ev.Event]) -> list[Any]:
    """Return the state right when each step had all its observations, by number, as the run itself saw it."""
    found: dict[int, Any] = {}
    for place in range(2, len(events) + 1):
        state = fold(events[:place])
        if state.messages and not state.open and not state.is_final and state.messages[-1].role == "user":
            found.setdefault(state.step, state)
    return [found[number] for number in sorted(found)]


def test_a_fork_folds_to_the_state_after_each_step() -> None:
    _result, events, _journal = story(*REPLIES)
    expected = states_after_steps(events)
    assert [state.step for state in expected] == [0, 1, 2, 3, 4]
    for step, state in enumerate(expected):
        created = first(events[0])
        mine = fold((created, *forked(events, created, step)))
        assert {name: getattr(mine, name) for name in SEEN} == {name: getattr(state, name) for name in SEEN}
        assert (mine.attempts, mine.losses, mine.is_held) == (0, 0, False)


def test_a_fork_with_another_task_goes_on_from_the_same_observations() -> None:
    _result, events, _journal = story(*REPLIES)
    created = first(events[0], task="another question")
    state = fold((created, *forked(events, created, 1)))
    assert [each.content for each in state.messages[1:2]] == ["another question"]
    assert "value of a" in state.messages[-1].content


def test_a_fork_of_another_agent_has_that_ones_head() -> None:
    _result, events, _journal = story(*REPLIES)
    created = first(events[0], agent_hash="other")
    assert fold((created, *forked(events, created, 0, "new head"))).messages[0].content == "new head"
    assert [event.type for event in forked(events, created, 0)] == ["run.started"]


def test_the_artifacts_that_a_fork_needs_are_named() -> None:
    _result, events, _journal = story(*REPLIES)
    created = first(events[0])
    assert artifacts_of(forked(events, created, 3)) == ()
    assert artifacts_of(forked(events, created, 4)) == ("r4.1",)
    compacted = (ev.PromptCompacted({"1.1": "c1.1"}, 9), ev.CallFinished("4.1", "x", "y", artifact="r4.1"))
    assert artifacts_of(compacted) == ("c1.1", "r4.1")


def test_a_fork_is_driven_to_its_end_and_repeats_no_call() -> None:
    made: list[str] = []

    @tool
    async def send(to: str) -> str:
        """Send."""
        made.append(to)
        return f"sent to {to}"

    async def go() -> None:
        agent, journal = make_agent(send, lookup), InMemoryJournal()
        replies = [call("send", to="ann"), call("lookup", key="a"), answer("x")]
        source = await run_agent(agent, "t", endpoint=ScriptedEndpoint(replies), journal=journal)
        events = [stored.event for stored in await journal.read(source.run_id)]
        created = first(events[0], task="now for Bob")
        await journal.create(created)
        claim = await journal.claim(created.run_id, "fork", ttl_s=10)
        journal.append(claim.lease, *forked(events, created, 1))
        await journal.release(claim.lease)
        model = ScriptedEndpoint([call("send", to="bob"), answer("y")])
        result = await resume_run(agent, created.run_id, journal=journal, endpoint=model)
        assert (result.output, result.steps, made) == ("y", 3, ["ann", "bob"])
        assert [each.role for each in model.requests[0].messages] == ["system", "user", "assistant", "user"]

    asyncio.run(go())


def test_waits_claims_intents_and_ends_stay_behind_and_edited_arguments_do_not() -> None:
    @tool(approval=True)
    async def pay(amount: int) -> str:
        """Pay."""
        return f"paid {amount}"

    async def go() -> None:
        agent, journal = make_agent(pay), InMemoryJournal()
        waiting = await run_agent(agent, "t", endpoint=ScriptedEndpoint([call("pay", amount=3)]), journal=journal)
        await review_call(journal, waiting.run_id, "1.1", approved=True, arguments='{"amount":2}', agent=agent)
        await resume_run(agent, waiting.run_id, journal=journal, endpoint=ScriptedEndpoint([answer("x")]))
        events = [stored.event for stored in await journal.read(waiting.run_id)]
        created = first(events[0])
        mine = forked(events, created, 1)
        assert [event.type for event in mine] == ["run.started", "step.decided", "call.reviewed", "call.finished"]
        assert fold((created, *mine)).messages == states_after_steps(events)[1].messages

    asyncio.run(go())


def test_a_fork_of_a_run_whose_budget_ended_may_call_tools_again() -> None:
    from loopwright import Limits

    _result, events, _journal = story(call("lookup", key="a"), "garbage", answer("x"), limits=Limits(max_steps=2))
    assert any(isinstance(event, ev.BudgetReached) for event in events)
    created = first(events[0])
    assert fold((created, *forked(events, created, 2))).last_turn is None


@pytest.mark.parametrize(
    ("step", "why"), [(5, "it is the answer"), (6, "no such step"), (-1, "no such step"), (99, "no such step")]
)
def test_a_step_that_is_not_there_or_answers_is_no_beginning(step: int, why: str) -> None:
    _result, events, _journal = story(*REPLIES)
    with pytest.raises(ForkInvalid, match=why):
        forked(events, first(events[0]), step)


def test_a_step_whose_calls_are_not_through_is_no_beginning() -> None:
    _result, events, _journal = story(*REPLIES)
    until = next(place for place, event in enumerate(events) if isinstance(event, ev.CallFinished))
    with pytest.raises(ForkInvalid, match="no result yet"):
        forked(events[:until], first(events[0]), 1)
    with pytest.raises(ForkInvalid, match="not started"):
        forked(events[:2], first(events[0]), 0)
