"""A person decides about exactly one call: these bytes, by this tool, in time, and only once."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from loopwright import Agent, Limits, RunResult, resume_run, review_call, run_agent, settle_call, tool
from loopwright.errors import ApprovalNotFound, ApprovalVoid, EditInvalid, Misuse, RunBusy
from loopwright.memory.journal.in_memory import InMemoryJournal
from loopwright.planner import answers as answers_module
from loopwright.planner import events as ev
from loopwright.planner.approvals import OpenReview, call_digest, open_reviews
from loopwright.planner.blueprint import blueprint_of
from loopwright.planner.state import fold, state_digest
from loopwright.testing import ScriptedEndpoint, answer, call, calls

from .agents_under_test import lookup, make_agent


class Desk:
    """A run that pays with approval, a clock, and what the tool really got."""

    def __init__(self, *replies: Any, description: str = "Pay.", **hooks: Any) -> None:
        self.now_s = 1_000.0
        self.sent: list[tuple[int, str]] = []
        self.journal = InMemoryJournal(clock=lambda: self.now_s)
        self.hooks = hooks
        self.agent = self.agent_with(description)
        self.first = asyncio.run(self.run(*(replies or (call("pay", amount=3, to="Ann"),))))
        self.run_id = self.first.run_id

    def agent_with(self, description: str) -> Agent[Any]:
        @tool(approval=True, description=description)
        async def pay(amount: int, to: str) -> str:
            self.sent.append((amount, to))
            return f"paid {amount} to {to}"

        return make_agent(pay, lookup, limits=Limits(deadline_s=600))

    def now_ms(self) -> int:
        return int(self.now_s * 1000)

    async def run(self, *replies: Any) -> RunResult[Any]:
        return await run_agent(
            self.agent, "t", endpoint=ScriptedEndpoint(replies), journal=self.journal, now_ms=self.now_ms, **self.hooks
        )

    def resume(self, *replies: Any) -> tuple[RunResult[Any], ScriptedEndpoint]:
        model = ScriptedEndpoint(replies or (answer("done"),))
        result = asyncio.run(
            resume_run(self.agent, self.run_id, endpoint=model, journal=self.journal, now_ms=self.now_ms, **self.hooks)
        )
        return result, model

    def open(self) -> list[OpenReview]:
        return open_reviews(fold(self.events()), blueprint_of(self.agent))

    def events(self) -> list[ev.Event]:
        return [stored.event for stored in asyncio.run(self.journal.read(self.run_id))]

    def review(self, call_id: str = "1.1", **decision: Any) -> ev.CallReviewed:
        given: dict[str, Any] = {"approved": True, "agent": self.agent, "now_ms": self.now_ms, **decision}
        return asyncio.run(review_call(self.journal, self.run_id, call_id, **given))


def test_what_waits_is_listed_with_its_bytes_and_a_digest_of_tool_version_and_arguments() -> None:
    desk = Desk(calls(("lookup", {"key": "a"}), ("pay", {"amount": 3, "to": "Ann"})), approval_ttl_s=60)
    (waiting,) = desk.open()
    assert (waiting.call.id, waiting.kind) == ("1.2", "approval")
    assert waiting.call.arguments == '{"amount":3,"to":"Ann"}'
    assert (waiting.asked_ms, waiting.expires_ms) == (1_000_000, 1_060_000)
    pay = desk.agent.tools[0]
    assert waiting.digest == call_digest(pay, waiting.call.arguments)
    other = desk.agent_with("Pay at once.").tools[0]
    digests = {call_digest(pay, '{"amount":3,"to":"Ann"}'), call_digest(pay, '{"amount":3, "to":"Ann"}')}
    assert len({*digests, call_digest(other, '{"amount":3,"to":"Ann"}')}) == 3


def test_an_approved_call_is_made_with_the_bytes_that_were_shown() -> None:
    desk = Desk()
    (waiting,) = desk.open()
    written = desk.review(digest=waiting.digest, by="ada")
    assert (written.by, written.digest) == ("ada", waiting.digest)
    result, _model = desk.resume()
    assert (result.status, desk.sent) == ("succeeded", [(3, "Ann")])
    assert desk.open() == []


def test_edited_arguments_are_what_the_tool_gets_and_the_model_is_told() -> None:
    desk = Desk()
    (waiting,) = desk.open()
    edited = '{ "to": "Bob", "amount": 2 }'
    written = desk.review(digest=waiting.digest, arguments=edited)
    assert written.digest == call_digest(desk.agent.tools[0], edited)
    result, model = desk.resume()
    assert (result.status, desk.sent) == ("succeeded", [(2, "Bob")])
    state = fold(desk.events())
    assert state.recent[-1][1] == edited
    assert f"A person changed the arguments of call 1.1 before it was made. They were: {edited}" in (
        model.requests[0].messages[-1].content
    )
    assert state_digest(state) == state_digest(result.state)


@pytest.mark.parametrize(
    "arguments", ['{"amount":"2","to":"Bob"}', '{"amount":2}', "nothing", '{"amount":2,"to":"B",}']
)
def test_edited_arguments_that_break_the_schema_are_refused_and_nothing_is_decided(arguments: str) -> None:
    desk = Desk()
    with pytest.raises(EditInvalid):
        desk.review(arguments=arguments)
    assert len(desk.open()) == 1
    assert desk.events()[-1].type == "run.waiting"


def test_a_decision_about_other_bytes_or_another_tool_is_void() -> None:
    desk = Desk()
    with pytest.raises(ApprovalVoid, match="not what the digest says"):
        desk.review(digest=call_digest(desk.agent.tools[0], '{"amount":4,"to":"Ann"}'))
    with pytest.raises(ApprovalVoid, match="defined in another way"):
        desk.review(agent=desk.agent_with("Pay twice."))
    assert desk.events()[-1].type == "run.waiting"
    with pytest.raises(Misuse, match="agent"):
        desk.review(agent=None, digest="x")


def test_a_review_of_something_else_is_not_acted_upon_and_the_call_is_asked_about_again() -> None:
    desk = Desk()

    async def meddle() -> None:
        claim = await desk.journal.claim(desk.run_id, "meddler", ttl_s=10)
        desk.journal.append(claim.lease, ev.CallReviewed("1.1", True, "eve", digest="f" * 64))
        await desk.journal.release(claim.lease)

    asyncio.run(meddle())
    result, _model = desk.resume()
    assert (result.status, result.state.reason, desk.sent) == ("waiting", "approval", [])
    (waiting,) = desk.open()
    desk.review(digest=waiting.digest)
    assert desk.resume()[0].status == "succeeded"
    assert desk.sent == [(3, "Ann")]


def test_the_same_decision_again_changes_nothing_also_when_the_run_has_ended() -> None:
    desk = Desk()
    digest = desk.open()[0].digest
    first = desk.review(digest=digest, by="ada")
    length = len(desk.events())
    assert desk.review(digest=digest, by="bob") == first
    assert len(desk.events()) == length
    desk.resume()
    assert desk.review(digest=digest) == first
    for other in ({"approved": False}, {"arguments": '{"amount":1,"to":"Ann"}'}):
        with pytest.raises(ApprovalVoid, match="approved before by ada"):
            desk.review(digest=digest, **other)
    assert desk.sent == [(3, "Ann")]


def test_a_question_that_nobody_answers_expires_and_the_run_goes_on() -> None:
    desk = Desk(approval_ttl_s=60)
    assert asyncio.run(desk.journal.due()) == []
    desk.now_s += 61
    assert asyncio.run(desk.journal.due()) == [desk.run_id]
    with pytest.raises(ApprovalVoid, match="nobody decided in time"):
        desk.review()
    result, model = desk.resume(answer("no luck"))
    assert (result.status, desk.sent) == ("succeeded", [])
    assert 'error="approval_expired"' in model.requests[0].messages[-1].content
    with pytest.raises(ApprovalVoid, match="the run succeeded"):
        desk.review()


def test_looking_at_a_waiting_run_does_not_prolong_the_question() -> None:
    desk = Desk(approval_ttl_s=60)
    for _ in range(3):
        desk.now_s += 15
        assert desk.resume()[0].status == "waiting"
    (waiting,) = desk.open()
    assert (waiting.asked_ms, waiting.expires_ms) == (1_000_000, 1_060_000)
    assert fold(desk.events()).losses == 0


def test_a_question_of_a_later_step_has_a_time_of_its_own() -> None:
    desk = Desk(approval_ttl_s=60)
    desk.review()
    desk.now_s += 100
    result, _model = desk.resume(call("pay", amount=4, to="Bob"))
    assert result.status == "waiting"
    assert desk.open()[0].expires_ms == 1_160_000


def test_a_call_that_cannot_be_made_is_no_question_for_a_person() -> None:
    desk = Desk(call("pay", amount="much", to="Ann"), answer("x"))
    assert desk.first.status == "succeeded"
    assert [event.type for event in desk.events()].count("run.waiting") == 0


def test_calls_that_were_never_made_or_never_asked_about_have_nothing_to_decide() -> None:
    desk = Desk(calls(("lookup", {"key": "a"}), ("pay", {"amount": 3, "to": "Ann"})))
    for unknown in ("7.1", "nonsense", "", "1", "1.1.1", "1.1\0", "\u0661.1", "9" * 5000 + ".1"):
        with pytest.raises(ApprovalNotFound):
            desk.review(unknown)
    with pytest.raises(ApprovalVoid, match="waits for no answer"):
        desk.review("1.1")
    with pytest.raises(ApprovalVoid, match="not in doubt"):
        asyncio.run(settle_call(desk.journal, desk.run_id, "1.2", result="x"))


class Doubtful(Desk):
    """A run with a call whose outcome is not known."""

    def agent_with(self, description: str) -> Agent[Any]:
        @tool(description=description, max_result_tokens=16)
        async def pay(amount: int, to: str) -> str:
            self.sent.append((amount, to))
            raise ConnectionError

        return make_agent(pay, lookup)

    def settle(self, **given: Any) -> ev.CallFinished:
        return asyncio.run(settle_call(self.journal, self.run_id, "1.1", **{"agent": self.agent, **given}))


def test_a_doubt_is_listed_settled_once_and_kept_whole() -> None:
    desk = Doubtful()
    (waiting,) = desk.open()
    assert (waiting.kind, waiting.expires_ms) == ("in_doubt", None)
    with pytest.raises(ApprovalVoid, match="digest"):
        desk.settle(result="paid", digest="0" * 64)
    said = "The bank's books show the payment. " * 40
    first = desk.settle(result=said, digest=waiting.digest, by="ada")
    assert (first.by, first.artifact, first.size) == ("ada", "r1.1", len(said))
    assert asyncio.run(desk.journal.artifact(desk.run_id, "r1.1")) == said
    assert desk.settle(result=said, digest=waiting.digest) == first
    for other in (None, said.replace("show", "deny")):
        with pytest.raises(ApprovalVoid, match="settled before by ada"):
            desk.settle(result=other)
    result, _model = desk.resume()
    assert (result.status, len(desk.sent)) == ("succeeded", 1)


class DoubtfulApproved(Desk):
    """A run whose call was approved, and whose outcome is not known."""

    def agent_with(self, description: str) -> Agent[Any]:
        @tool(approval=True, description=description)
        async def pay(amount: int, to: str) -> str:
            raise ConnectionError

        return make_agent(pay, lookup)


def test_a_doubt_about_an_approved_call_is_not_looked_at_again_and_again_once_the_approval_would_have_expired() -> None:
    """Nobody needs to see to it before somebody knows what became of the call."""
    desk = DoubtfulApproved(approval_ttl_s=60)
    desk.review()
    assert desk.resume()[0].state.reason == "in_doubt"
    desk.now_s += 61
    assert asyncio.run(desk.journal.due()) == []
    assert desk.resume()[0].state.reason == "in_doubt"
    assert asyncio.run(desk.journal.due()) == []


def test_an_answer_waits_a_moment_for_a_run_that_somebody_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk()

    async def held_for(seconds: float, answer_it: Callable[[], Any]) -> Any:
        claim = await desk.journal.claim(desk.run_id, "somebody", ttl_s=60)
        asyncio.get_running_loop().call_later(seconds, lambda: asyncio.ensure_future(desk.journal.release(claim.lease)))
        return await answer_it()

    async def approve() -> Any:
        return await review_call(desk.journal, desk.run_id, "1.1", approved=True, agent=desk.agent)

    monkeypatch.setattr(answers_module, "BUSY_S", 0.0)
    with pytest.raises(RunBusy):
        asyncio.run(held_for(3600, approve))
    desk.now_s += 120
    monkeypatch.setattr(answers_module, "BUSY_S", 20.0)
    assert asyncio.run(held_for(0.05, approve)).approved


def test_two_people_who_decide_at_once_write_one_decision() -> None:
    desk = Desk()

    async def both() -> list[Any]:
        return await asyncio.gather(
            *[review_call(desk.journal, desk.run_id, "1.1", approved=each, agent=desk.agent) for each in (True, False)],
            return_exceptions=True,
        )

    outcomes = asyncio.run(both())
    assert sorted(type(each).__name__ for each in outcomes) == ["ApprovalVoid", "CallReviewed"]
    assert [event.type for event in desk.events()].count("call.reviewed") == 1


def test_a_call_of_a_run_that_is_to_be_cancelled_cannot_be_approved_any_more() -> None:
    desk = Desk()
    asyncio.run(desk.journal.request_cancel(desk.run_id, "enough"))
    with pytest.raises(ApprovalVoid, match="end of the run"):
        desk.review()
    result, _ = desk.resume()
    assert result.status == "cancelled" and desk.sent == []


def test_answers_are_no_lost_workers() -> None:
    desk = Desk()
    desk.review()
    events = desk.events()
    assert [event.type for event in events[-3:]] == ["run.claimed", "call.reviewed", "run.released"]
    assert fold(events).losses == 0
