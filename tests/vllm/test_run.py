"""Whole runs on a real vLLM server: random weights, so every step says something else, and all of it is valid."""

import asyncio
from typing import Any

import pytest

from loopwright import Agent, Limits, RunResult, run_agent
from loopwright.inference.openai_compatible import OpenAICompatibleEndpoint
from loopwright.memory.journal.in_memory import InMemoryJournal
from loopwright.planner import events as ev
from loopwright.planner.state import fold, state_digest
from loopwright.tests.vllm.server import VllmServer
from loopwright.tests.vllm.toolbox import TOOLS

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(900)]

RUNS = 6


def test_runs_on_vllm_end_with_every_call_valid_and_their_journals_replay(vllm: VllmServer) -> None:
    agent = Agent(
        name="chance",
        instructions="Do what you like.",
        tools=TOOLS[:10],
        temperature=1.0,
        limits=Limits(max_steps=4, max_tokens=100_000, deadline_s=800),
    )
    journal = InMemoryJournal()

    async def go() -> list[RunResult[Any]]:
        endpoint = OpenAICompatibleEndpoint(vllm.url, "tiny")
        try:
            runs = [run_agent(agent, f"task {n}", endpoint=endpoint, journal=journal) for n in range(RUNS)]
            return await asyncio.gather(*runs)
        finally:
            await endpoint.aclose()

    for result in asyncio.run(go()):
        events = [stored.event for stored in asyncio.run(journal.read(result.run_id))]
        assert result.status == "succeeded", (result.state.reason, result.state.detail)
        assert not [event for event in events if isinstance(event, ev.StepRejected)]
        assert not [event for event in events if isinstance(event, ev.CallFinished) and event.error]
        assert result.state.tokens.completion > 0
        assert state_digest(fold(events)) == state_digest(result.state)
