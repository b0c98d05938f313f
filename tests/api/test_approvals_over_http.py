"""Approvals over HTTP, with a real run behind them: asked, listed, decided, and made with exactly those bytes."""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from loopwright import Agent, Limits, resume_run, run_agent, tool
from loopwright.memory.journal.ids import new_run_id
from loopwright.planner import events as ev
from loopwright.testing import ScriptedEndpoint, answer, call, calls
from loopwright.tools import Tool

from ..memory.support import in_loop
from ..servers import RedisServer
from .served import Served, served

ODD = '{"thought":"","calls":[{"tool":"pay","arguments":{"to" : "Zo\\u00eb","amount":\t3}}]}'
BYTES = '{"to":"Zoë","amount":3}'
"""The arguments as the run's decision has them: what the model wrote, in the one form that the journal keeps."""


class Teller:
    """An agent that pays with approval, the API in front of its runs, and what its tools really got."""

    def __init__(self, api: Served, agent: Agent[Any]) -> None:
        self.api = api
        self.agent = agent

    async def ask(self, *replies: str, tenant: str = "local", **options: Any) -> str:
        """Run until the run waits; return its id."""
        result = await run_agent(
            options.pop("agent", self.agent), "pay", endpoint=ScriptedEndpoint(replies or [ODD]),
            journal=self.api.store.journal, tenant=tenant, **options,
        )  # fmt: skip
        assert result.status == "waiting"
        return result.run_id

    async def carry_on(self, run_id: str, *replies: str) -> Any:
        """Drive the run as a worker would."""
        model = ScriptedEndpoint(replies or [answer("done")])
        return await resume_run(self.agent, run_id, endpoint=model, journal=self.api.store.journal), model

    async def waiting(self, **query: Any) -> list[dict[str, Any]]:
        """Return the approvals on the first page."""
        listed = await self.api.http.get("/v1/approvals", params=query)
        assert listed.status_code == 200, listed.text
        items: list[dict[str, Any]] = listed.json()["items"]
        return items

    async def decide(self, approval: dict[str, Any], decision: str, **more: Any) -> Any:
        """Send a decision."""
        body = {"decision": decision, "digest": approval["digest"], **more}
        return await self.api.http.post(f"/v1/approvals/{approval['id']}", json=body)

    async def events(self, run_id: str) -> list[ev.Event]:
        """Return the run's events."""
        return [stored.event for stored in await self.api.store.journal.read(run_id)]


PAID: list[tuple[int, str]] = []


@tool(approval=True)
async def pay(amount: int, to: str) -> str:
    """Pay somebody."""
    PAID.append((amount, to))
    return f"paid {amount} to {to}"


@tool
async def wire(amount: int) -> str:
    """Send money, over a line that breaks."""
    PAID.append((amount, "wire"))
    raise ConnectionError("the line broke")


def teller(**options: Any) -> Agent[Any]:
    """Return the agent."""
    given: dict[str, Any] = {"instructions": "Pay.", "limits": Limits(deadline_s=600), **options}
    return Agent(name="teller", tools=[pay, wire], **given)


@contextlib.asynccontextmanager
async def desk(server: RedisServer, tmp_path: Path, agent: Agent[Any] | None = None) -> AsyncIterator[Teller]:
    """Serve the API before an agent."""
    PAID.clear()
    agent = agent or teller()
    async with served(server, tmp_path, [agent]) as api:
        yield Teller(api, agent)


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the texts that tools were given as arguments, as they come in."""
    seen: list[str] = []
    original = Tool.parse

    def parse(self: Any, arguments: str) -> Any:
        seen.append(arguments)
        return original(self, arguments)

    monkeypatch.setattr(Tool, "parse", parse)
    return seen


@in_loop
async def test_the_approved_bytes_are_the_bytes_that_are_sent(
    one_server: RedisServer, tmp_path: Path, parsed: list[str]
) -> None:
    async with desk(one_server, tmp_path) as at:
        run_id = await at.ask(approval_ttl_s=60)
        (approval,) = await at.waiting()
        assert approval["id"] == f"{run_id}:1.1"
        assert (approval["kind"], approval["agent"], approval["tool"]) == ("approval", "teller", "pay")
        assert approval["arguments"] == BYTES
        assert approval["asked_at"].endswith("Z") and approval["expires_at"] > approval["asked_at"]
        decided = await at.decide(approval, "approve")
        assert decided.status_code == 200
        assert decided.json() == {
            "run_id": run_id, "call_id": "1.1", "decision": "approve", "by": "local", "arguments": BYTES,
        }  # fmt: skip
        assert at.api.bell.rung == [(run_id, "normal")]
        assert await at.waiting() == []
        parsed.clear()
        result, _ = await at.carry_on(run_id)
    assert (result.status, PAID) == ("succeeded", [(3, "Zoë")])
    assert set(parsed) == {BYTES}


@in_loop
async def test_edited_arguments_are_sent_as_the_answer_shows_them(
    one_server: RedisServer, tmp_path: Path, parsed: list[str]
) -> None:
    async with desk(one_server, tmp_path) as at:
        run_id = await at.ask()
        (approval,) = await at.waiting()
        decided = await at.decide(approval, "edit", arguments={"to": "Bob", "amount": 2})
        assert decided.status_code == 200
        sent = decided.json()["arguments"]
        parsed.clear()
        result, _ = await at.carry_on(run_id)
        (reviewed,) = [each for each in await at.events(run_id) if isinstance(each, ev.CallReviewed)]
    assert sent == '{"to":"Bob","amount":2}' == reviewed.arguments
    assert set(parsed) == {sent}
    assert (result.status, PAID) == ("succeeded", [(2, "Bob")])


@in_loop
async def test_a_refusal_reaches_the_model_with_its_reason_and_nothing_is_sent(
    one_server: RedisServer, tmp_path: Path
) -> None:
    async with desk(one_server, tmp_path) as at:
        run_id = await at.ask()
        (approval,) = await at.waiting()
        decided = await at.decide(approval, "reject", reason="not on a Friday")
        assert decided.json()["arguments"] is None
        result, model = await at.carry_on(run_id)
    assert (result.status, PAID) == ("succeeded", [])
    assert "not on a Friday" in model.requests[0].messages[-1].content


@in_loop
async def test_the_journal_names_the_key_that_decided(one_server: RedisServer, tmp_path: Path) -> None:
    async with desk(one_server, tmp_path) as at:
        run_id = await at.ask()
        (approval,) = await at.waiting()
        record, token = await at.api.store.keys.create("local", ["approve"])
        at.api.http.headers["authorization"] = f"Bearer {token}"
        decided = await at.decide(approval, "approve")
        (reviewed,) = [each for each in await at.events(run_id) if isinstance(each, ev.CallReviewed)]
    assert decided.json()["by"] == record.id == reviewed.by
    assert reviewed.digest == approval["digest"]


@in_loop
async def test_the_same_decision_again_is_answered_alike_and_another_one_is_void(
    one_server: RedisServer, tmp_path: Path
) -> None:
    async with desk(one_server, tmp_path) as at:
        run_id = await at.ask()
        (approval,) = await at.waiting()
        first, again = [await at.decide(approval, "approve") for _ in range(2)]
        assert again.status_code == 200 and again.json() == first.json()
        other = await at.decide(approval, "reject")
        assert other.status_code == 409
        assert other.json()["type"] == "urn:loopwright:problem:approval_void"
        await at.carry_on(run_id)
        later = await at.decide(approval, "reject")
        assert later.status_code == 409
    assert PAID == [(3, "Zoë")]


@in_loop
async def test_a_decision_about_something_else_is_void(one_server: RedisServer, tmp_path: Path) -> None:
    async with desk(one_server, tmp_path) as at:
        await at.ask()
        (approval,) = await at.waiting()
        void = await at.decide({**approval, "digest": "0" * 64}, "approve")
        assert void.status_code == 409
        assert len(await at.waiting()) == 1


@in_loop
async def test_a_run_of_another_definition_is_shown_but_cannot_be_decided_here(
    one_server: RedisServer, tmp_path: Path
) -> None:
    async with desk(one_server, tmp_path) as at:
        strange = Agent(name="stranger", instructions="Pay.", tools=[pay])
        older = await at.ask(agent=teller(instructions="Pay at once."))
        unknown = await at.ask(agent=strange)
        listed = {each["run_id"]: each for each in await at.waiting()}
        assert {(each["tool"], each["arguments"], each["digest"]) for each in listed.values()} == {("pay", BYTES, "")}
        for run_id, named in ((older, "defined in another way"), (unknown, "does not know")):
            void = await at.decide(listed[run_id], "approve")
            assert void.status_code == 409 and named in void.json()["detail"]


@in_loop
async def test_edited_arguments_that_the_tool_does_not_take_are_refused(
    one_server: RedisServer, tmp_path: Path
) -> None:
    async with desk(one_server, tmp_path) as at:
        await at.ask()
        (approval,) = await at.waiting()
        refused = await at.decide(approval, "edit", arguments={"to": "Bob", "amount": "two"})
        assert refused.status_code == 422
        assert "amount" in refused.json()["detail"]
        assert len(await at.waiting()) == 1


@pytest.mark.parametrize(
    ("decision", "more", "named"),
    [
        ("edit", {}, "body.arguments"),
        ("approve", {"arguments": {}}, "body.arguments"),
        ("reject", {"result": "x"}, "body.result"),
        ("maybe", {}, "body.decision"),
        ("approve", {"reason": "x" * 2001}, "body.reason"),
        ("approve", {"note": "x"}, "body.note"),
    ],
)
@in_loop
async def test_a_decision_whose_fields_do_not_fit_together_says_where(
    one_server: RedisServer, tmp_path: Path, decision: str, more: dict[str, Any], named: str
) -> None:
    async with desk(one_server, tmp_path) as at:
        refused = await at.decide({"id": "x:1.1", "digest": ""}, decision, **more)
    assert refused.status_code == 422
    assert [each["where"] for each in refused.json()["errors"]] == [named]


@in_loop
async def test_an_outcome_that_is_in_doubt_is_settled(one_server: RedisServer, tmp_path: Path) -> None:
    async with desk(one_server, tmp_path) as at:
        made, lost = [await at.ask(call("wire", amount=5)) for _ in range(2)]
        listed = {each["run_id"]: each for each in await at.waiting()}
        assert {each["kind"] for each in listed.values()} == {"in_doubt"}
        wrong = await at.decide(listed[made], "approve")
        assert wrong.status_code == 409
        assert (await at.decide(listed[made], "happened", result="receipt 7")).status_code == 200
        assert (await at.decide(listed[lost], "did_not_happen", reason="the bank says so")).status_code == 200
        shown = []
        for run_id in (made, lost):
            result, model = await at.carry_on(run_id)
            assert result.status == "succeeded"
            shown.append(model.requests[0].messages[-1].content)
        settled = [each for each in await at.events(made) if isinstance(each, ev.CallFinished)]
    assert "receipt 7" in shown[0] and "the bank says so" in shown[1]
    assert settled[0].by == "local"
    assert PAID == [(5, "wire")] * 2


@in_loop
async def test_what_is_not_there_and_what_is_anothers_is_answered_alike(
    one_server: RedisServer, tmp_path: Path
) -> None:
    """T26: 404, never 403, and not a byte of the other tenant's."""
    async with desk(one_server, tmp_path) as at:
        theirs = await at.ask(tenant="beta")
        header = await at.api.key("approve", tenant="acme")
        listed = await at.api.http.get("/v1/approvals", headers=header)
        assert listed.json() == {"items": [], "next": None}
        answers = []
        ids = (f"{theirs}:1.1", f"{new_run_id('beta')}:1.1", f"{new_run_id('acme')}:1.1", "x", ":", "*:*", "%0a:1.1")
        for approval_id in ids:
            body = {"decision": "approve", "digest": "0" * 64}
            refused = await at.api.http.post(f"/v1/approvals/{approval_id}", json=body, headers=header)
            problem = refused.json()
            answers.append((refused.status_code, problem["type"], problem["title"], problem["remedy"]))
        foreign = await at.api.http.get("/v1/approvals", headers=header, params={"cursor": theirs})
        assert foreign.json()["items"] == []
    assert len(set(answers)) == 1 and answers[0][0] == 404


@in_loop
async def test_a_long_list_comes_in_pages_without_gaps(one_server: RedisServer, tmp_path: Path) -> None:
    async with desk(one_server, tmp_path) as at:
        two = calls(("pay", {"to": "a", "amount": 1}), ("pay", {"to": "b", "amount": 2}))
        made = [await at.ask(two if index % 3 == 0 else ODD) for index in range(9)]
        seen, cursor, pages = [], "", 0
        while cursor is not None:
            query = {"limit": "4"} | ({"cursor": cursor} if cursor else {})
            page = (await at.api.http.get("/v1/approvals", params=query)).json()
            seen += page["items"]
            cursor, pages = page["next"], pages + 1
        wrong = await at.api.http.get("/v1/approvals", params={"cursor": "no cursor"})
    assert sorted({each["run_id"] for each in seen}) == sorted(made)
    assert len(seen) == len({each["id"] for each in seen}) == 12
    assert pages in (3, 4)
    assert wrong.status_code == 422


@in_loop
async def test_a_run_that_a_worker_holds_answers_busy_and_may_be_asked_again(
    one_server: RedisServer, tmp_path: Path
) -> None:
    async with desk(one_server, tmp_path) as at:
        run_id = await at.ask()
        (approval,) = await at.waiting()
        claim = await at.api.store.journal.claim(run_id, "worker", ttl_s=60)
        busy = await at.decide(approval, "approve")
        assert busy.status_code == 409 and busy.json()["retryable"]
        assert busy.json()["type"] == "urn:loopwright:problem:run_busy"
        await at.api.store.journal.release(claim.lease)
        assert (await at.decide(approval, "approve")).status_code == 200


@in_loop
async def test_of_many_who_decide_at_once_one_is_written_down(one_server: RedisServer, tmp_path: Path) -> None:
    async with desk(one_server, tmp_path) as at:
        run_id = await at.ask()
        (approval,) = await at.waiting()
        ways = [("approve", {}), ("reject", {}), ("edit", {"arguments": {"amount": 1, "to": "Bob"}})] * 4
        answers = await asyncio.gather(*(at.decide(approval, way, **more) for way, more in ways))
        won = {answer.json()["decision"] for answer in answers if answer.status_code == 200}
        assert len(won) == 1 and {answer.status_code for answer in answers} == {200, 409}
        assert sum(answer.status_code == 200 for answer in answers) == 4
        reviews = [each for each in await at.events(run_id) if isinstance(each, ev.CallReviewed)]
    assert len(reviews) == 1


@in_loop
async def test_a_foreign_id_costs_what_an_unknown_one_costs(one_server: RedisServer, tmp_path: Path) -> None:
    """T26: else the time of a 404 would tell what exists."""
    async with desk(one_server, tmp_path) as at:
        theirs = await at.ask(tenant="beta")
        header = await at.api.key("approve", tenant="acme")
        spent = []
        for run_id in (theirs, new_run_id("beta")) * 3:
            body = {"decision": "approve", "digest": "0" * 64}
            before = calls_of(one_server)
            refused = await at.api.http.post(f"/v1/approvals/{run_id}:1.1", json=body, headers=header)
            spent.append(
                (refused.status_code, {name: n - before.get(name, 0) for name, n in calls_of(one_server).items()})
            )
    assert spent[2] == spent[3] == spent[4] == spent[5]
    assert spent[2][0] == 404


def calls_of(server: RedisServer) -> dict[str, int]:
    """Return how often each command was run."""
    text = server.command("INFO", "commandstats").decode()
    found = re.findall(r"cmdstat_([a-z|]+):calls=(\d+)", text)
    return {name: int(number) for name, number in found if name not in ("info", "lpush", "publish", "hincrbyfloat")}
