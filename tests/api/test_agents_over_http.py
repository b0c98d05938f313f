"""Agents as the API shows them."""

from pathlib import Path
from typing import Literal

import jsonschema
from pydantic import BaseModel

from loopwright import Agent, Limits, tool
from loopwright.agents.instructions import RunContext
from loopwright.testing import ScriptedEndpoint

from ..memory.support import in_loop
from ..servers import RedisServer
from .served import served


class Verdict(BaseModel):
    """A typed answer."""

    verdict: Literal["yes", "no"]


@tool(effect="read", queue="gpu")
def look(where: str, times: int = 1) -> str:
    """Look somewhere."""
    return where * times


@tool(approval=True)
def pay(amount: int) -> str:
    """Pay."""
    return str(amount)


def greeting(context: RunContext) -> str:
    """Write instructions for one run."""
    return f"Serve {context.tenant}."


JUDGE = Agent(
    name="judge", instructions="Judge.", tools=[look, pay], output_type=Verdict, limits=Limits(max_steps=3),
    model="small",
)  # fmt: skip
GREETER = Agent(name="greeter", instructions=greeting, model=ScriptedEndpoint([], name="scripted"))


@in_loop
async def test_agents_are_listed_by_name(one_server: RedisServer, tmp_path: Path) -> None:
    async with served(one_server, tmp_path, [JUDGE, GREETER]) as api:
        page = (await api.http.get("/v1/agents")).json()
    assert [each["name"] for each in page["items"]] == ["greeter", "judge"]
    assert page["next"] is None
    assert page["items"][0]["instructions"] == "(written for each run by greeting)"
    assert page["items"][0]["model"] == "scripted"


@in_loop
async def test_an_agent_is_shown_with_schemas_that_hold_and_the_hash_that_runs_pin(
    one_server: RedisServer, tmp_path: Path
) -> None:
    async with served(one_server, tmp_path, [JUDGE]) as api:
        shown = (await api.http.get("/v1/agents/judge")).json()
    assert (shown["hash"], shown["instructions"], shown["model"]) == (JUDGE.hash, "Judge.", "small")
    assert shown["limits"]["max_steps"] == 3
    jsonschema.validate({"verdict": "yes"}, shown["output_schema"])
    assert [(each["name"], each["effect"], each["approval"], each["queue"]) for each in shown["tools"]] == [
        ("look", "read", False, "gpu"), ("pay", "once", True, None),
    ]  # fmt: skip
    jsonschema.validate({"where": "x", "times": 2}, shown["tools"][0]["parameters"])
    assert not jsonschema.Draft202012Validator(shown["tools"][0]["parameters"]).is_valid({"where": 1})


@in_loop
async def test_an_agent_that_only_stands_behind_a_tool_is_found_by_name(
    one_server: RedisServer, tmp_path: Path
) -> None:
    inner = Agent(name="inner", instructions="Help.", description="Helps.")
    outer = Agent(name="outer", instructions="Ask.", tools=[inner.as_tool()])
    async with served(one_server, tmp_path, [outer]) as api:
        listed = (await api.http.get("/v1/agents")).json()["items"]
        assert [each["name"] for each in listed] == ["outer"]
        assert (await api.http.get("/v1/agents/inner")).json()["name"] == "inner"


@in_loop
async def test_an_agent_that_is_not_there_is_404_and_names_those_that_are(
    one_server: RedisServer, tmp_path: Path
) -> None:
    async with served(one_server, tmp_path, [JUDGE]) as api:
        for name in ("nobody", "%2e%2e", "x" * 500):
            missing = await api.http.get(f"/v1/agents/{name}")
            assert missing.status_code == 404
            assert missing.json()["type"] == "urn:loopwright:problem:agent_not_found"
            assert "judge" in missing.json()["detail"]
