"""Runs that wait for the runs they started: a parent sleeps as long as its child, and both mind the other's end."""

import asyncio
from typing import Any

import pytest

from loopwright import Agent, Context, Limits, RunResult, resume_run, review_call, run_agent, tool
from loopwright.errors import ApprovalVoid
from loopwright.memory.journal.in_memory import InMemoryJournal
from loopwright.planner import drive as drive_module
from loopwright.planner.approvals import open_reviews
from loopwright.planner.blueprint import blueprint_of
from loopwright.planner.state import fold, state_digest
from loopwright.testing import ScriptedEndpoint, answer, call, calls

from .agents_under_test import lookup, make_agent


class Family:
    """A boss who asks a clerk who may pay with approval only; a clock; and what was really paid."""

    def __init__(self, *replies: Any, boss_tool: Any = None, also: Any = None) -> None:
        self.now_s = 1_000.0
        self.paid: list[int] = []
        self.journal = InMemoryJournal(clock=lambda: self.now_s)

        @tool(approval=True)
        async def pay(amount: int) -> str:
            """Pay."""
            self.paid.append(amount)
            return f"paid {amount}"

        self.clerk = make_agent(pay, name="clerk", description="Pays.", limits=Limits(deadline_s=60))
        asking = boss_tool(self.clerk) if boss_tool else self.clerk.as_tool()
        self.boss = make_agent(asking, also(self) if also else lookup, name="boss", limits=Limits(deadline_s=60))
        self.first = asyncio.run(
            run_agent(self.boss, "t", endpoint=ScriptedEndpoint(replies), journal=self.journal, now_ms=self.now_ms)
        )

    def now_ms(self) -> int:
        return int(self.now_s * 1000)

    @property
    def child(self) -> str:
        (found,) = [each.run_id for each in asyncio.run(self.journal.runs("local")) if each.agent == "clerk"]
        return found

    def resume(self, agent: Agent[Any], run_id: str, *replies: Any) -> RunResult[Any]:
        model = ScriptedEndpoint(replies)
        return asyncio.run(resume_run(agent, run_id, endpoint=model, journal=self.journal, now_ms=self.now_ms))

    def approve(self) -> None:
        asyncio.run(review_call(self.journal, self.child, "1.1", approved=True, agent=self.clerk, now_ms=self.now_ms))

    def status(self, run_id: str) -> tuple[str, str | None]:
        record = asyncio.run(self.journal.record(run_id))
        return record.status, record.reason


ASK, PAY = call("clerk", task="pay the bill"), call("pay", amount=3)


def test_a_parent_waits_as_long_as_its_child_and_for_the_same() -> None:
    family = Family(ASK, PAY)
    assert (family.first.status, family.first.state.reason) == ("waiting", "approval")
    assert family.first.state.awaited == (family.child,)
    assert open_reviews(family.first.state, blueprint_of(family.boss)) == []
    child = fold(each.event for each in asyncio.run(family.journal.read(family.child)))
    assert [each.call.tool for each in open_reviews(child, blueprint_of(family.clerk))] == ["pay"]
    family.approve()
    result = family.resume(family.boss, family.first.run_id, answer("it is paid"), answer("all done"))
    assert (result.output, family.paid) == ("all done", [3])
    assert result.state.observed[0].calls[0].text == "it is paid"
    assert result.state.awaited == ()
    events = [each.event for each in asyncio.run(family.journal.read(result.run_id))]
    assert state_digest(fold(events)) == state_digest(result.state)


def test_a_child_that_another_process_sees_through_makes_its_parent_due() -> None:
    family = Family(ASK, PAY)
    assert asyncio.run(family.journal.due()) == []
    family.approve()
    assert asyncio.run(family.journal.due()) == [family.child]
    assert family.resume(family.clerk, family.child, answer("it is paid")).status == "succeeded"
    assert asyncio.run(family.journal.due()) == [family.first.run_id]
    result = family.resume(family.boss, family.first.run_id, answer("all done"))
    assert (result.output, family.paid, result.state.losses) == ("all done", [3], 0)


def test_a_child_that_ends_while_its_parent_is_still_awake_makes_it_due_once_it_sleeps() -> None:
    """Its end found nobody asleep who could have been told."""

    def meanwhile(family: Family) -> Any:
        @tool(effect="read")
        async def dawdle() -> str:
            """Take until the child has waited, was approved, and has ended in another process."""
            while not (asking := await family.journal.waiting("local")):
                await asyncio.sleep(0)
            await asyncio.to_thread(family.approve)
            await asyncio.to_thread(family.resume, family.clerk, asking[0], answer("it is paid"))
            return "here I am"

        return dawdle

    family = Family(calls(("clerk", {"task": "pay"}), ("dawdle", {})), PAY, also=meanwhile)
    assert (family.first.status, family.status(family.child)) == ("waiting", ("succeeded", None))
    assert asyncio.run(family.journal.due()) == [family.first.run_id]
    result = family.resume(family.boss, family.first.run_id, answer("all done"))
    assert (result.output, family.paid, result.state.losses) == ("all done", [3], 0)


def test_a_parent_looks_now_and_then_in_case_nobody_tells_it() -> None:
    family = Family(ASK, PAY)
    family.now_s += 601
    assert family.first.run_id in asyncio.run(family.journal.due())
    result = family.resume(family.boss, family.first.run_id)
    assert (result.status, result.state.reason) == ("waiting", "approval")


def test_waiting_for_a_child_that_waits_for_a_person_does_not_count_against_the_deadline() -> None:
    family = Family(ASK, PAY)
    family.now_s += 3_600
    family.approve()
    result = family.resume(family.boss, family.first.run_id, answer("it is paid"), answer("all done"))
    assert result.status == "succeeded"


def test_other_calls_of_the_step_are_made_at_once() -> None:
    family = Family(calls(("clerk", {"task": "pay"}), ("lookup", {"key": "a"})), PAY)
    finished = [each.finished.text for each in family.first.state.open if each.finished]
    assert (family.first.status, finished) == ("waiting", ["value of a"])


def test_a_parent_that_is_cancelled_takes_its_sleeping_child_with_it() -> None:
    family = Family(ASK, PAY)
    asyncio.run(family.journal.request_cancel(family.first.run_id, "enough"))
    assert family.resume(family.boss, family.first.run_id).status == "cancelled"
    with pytest.raises(ApprovalVoid, match="end of the run"):
        family.approve()
    assert family.resume(family.clerk, family.child).status == "cancelled"
    assert (family.status(family.child), family.paid) == (("cancelled", "parent_ended"), [])


def test_a_child_finds_out_by_itself_that_its_parent_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    family = Family(ASK, PAY)

    async def tells_nobody(_loop: Any) -> None:
        pass

    with monkeypatch.context() as patch:
        patch.setattr(drive_module, "see_to_family", tells_nobody)
        asyncio.run(family.journal.request_cancel(family.first.run_id, "enough"))
        assert family.resume(family.boss, family.first.run_id).status == "cancelled"
    family.approve()
    assert family.resume(family.clerk, family.child).status == "cancelled"
    assert (family.status(family.child), family.paid) == (("cancelled", "parent_ended"), [])


def test_inside_of_a_once_call_a_child_that_waits_has_no_answer() -> None:
    def careful(clerk: Agent[Any]) -> Any:
        @tool
        async def ask(task: str, context: Context) -> str:
            """Ask the clerk, once."""
            return str(await context.run_agent(clerk, task))

        return ask

    family = Family(call("ask", task="pay"), PAY, answer("no luck"), boss_tool=careful)
    assert family.first.status == "succeeded"
    assert "found no answer: waiting (approval)" in family.first.state.observed[0].calls[0].text
    with pytest.raises(ApprovalVoid, match="end of the run"):
        family.approve()
    assert family.resume(family.clerk, family.child).status == "cancelled"
    assert family.paid == []
