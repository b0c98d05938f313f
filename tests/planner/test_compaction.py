"""Prompts that near the model's window."""

import asyncio
import itertools
from typing import Any

from loopwright import Limits, run_agent, tool
from loopwright.errors import ContextTooLong
from loopwright.memory.journal.in_memory import InMemoryJournal
from loopwright.planner import events as ev
from loopwright.planner.state import fold
from loopwright.testing import ScriptedEndpoint, answer, call

from .agents_under_test import make_agent


@tool(effect="read")
async def page(number: int) -> str:
    """Return a page of a book."""
    return f"page {number}: " + "words and more words " * 40


def reader_agent() -> Any:
    return make_agent(page, limits=Limits(max_steps=100, max_tokens=10**9, max_tool_calls=100))


def long_run(window: int, pages: int, **options: Any) -> tuple[Any, ScriptedEndpoint, list[ev.Event]]:
    journal = InMemoryJournal()
    replies = [call("page", number=number) for number in range(pages)] + [answer("read")]
    model = ScriptedEndpoint(replies, context_tokens=window, count=True)
    result = asyncio.run(run_agent(reader_agent(), "read the book", endpoint=model, journal=journal, **options))
    return result, model, [stored.event for stored in asyncio.run(journal.read(result.run_id))]


def test_a_prompt_never_outgrows_the_window_and_task_and_decisions_stay() -> None:
    result, model, events = long_run(window=3_000, pages=40)
    assert result.status == "succeeded"
    assert max(model.count_tokens(request.messages) for request in model.requests) < 3_000
    assert fold(events) == result.state
    last = model.requests[-1].messages
    assert last[1].content == "read the book"
    assert [message.content for message in last if message.role == "assistant"] == [
        call("page", number=number) for number in range(40)
    ]


def test_compactions_are_rare_and_the_prompt_only_grows_between_them() -> None:
    _result, model, events = long_run(window=3_000, pages=40)
    compactions = sum(isinstance(event, ev.PromptCompacted) for event in events)
    broken = sum(
        after.messages[: len(before.messages)] != before.messages
        for before, after in itertools.pairwise(model.requests)
    )
    assert 0 < broken == compactions <= 40 // 3


def test_a_stub_names_the_artifact_that_holds_the_whole_observation() -> None:
    journal = InMemoryJournal()
    replies = [call("page", number=number) for number in range(12)]
    replies += [call("read_artifact", artifact_id="o1.1"), answer("read")]
    model = ScriptedEndpoint(replies, context_tokens=2_000, count=True)
    result = asyncio.run(run_agent(reader_agent(), "t", endpoint=model, journal=journal))
    stub = model.requests[-1].messages[3].content
    assert 'read_artifact("o1.1")' in stub
    assert "page 0: words" in model.requests[-1].messages[-1].content
    assert asyncio.run(journal.artifact(result.run_id, "o1.1")) == "page 0: " + "words and more words " * 40


def test_a_server_that_finds_the_prompt_too_long_is_asked_again_with_a_shorter_one() -> None:
    replies: list[Any] = [call("page", number=number) for number in range(3)]
    replies += [ContextTooLong("scripted", "3,000 tokens"), answer("read")]
    model = ScriptedEndpoint(replies, count=True)
    result = asyncio.run(run_agent(reader_agent(), "t", endpoint=model))
    assert result.status == "succeeded"
    assert model.count_tokens(model.requests[-1].messages) < model.count_tokens(model.requests[-2].messages)


def test_a_task_that_alone_exceeds_the_window_fails_with_a_reason_and_is_not_retried() -> None:
    model = ScriptedEndpoint([ContextTooLong("scripted", "90,000 tokens")] * 9, context_tokens=1_000)
    result = asyncio.run(run_agent(reader_agent(), "word " * 50_000, endpoint=model))
    assert (result.status, result.state.reason) == ("failed", "context_too_long")
    assert len(model.requests) == 1
