"""What a tool may know and ask."""

import asyncio
import time
from typing import Any

import pytest
from structlog.testing import capture_logs

from loopwright.errors import Misuse, ToolError
from loopwright.planner.events import Tokens
from loopwright.tools import MAX_DEPTH, ChildRun, Context


def test_a_test_needs_to_give_nothing_but_what_it_uses() -> None:
    context: Context[list[int]] = Context(resources=[1])
    assert (context.resources, context.run_id, context.key, context.seconds_left) == ([1], "local", "local/1.1", None)
    context.progress("nobody listens")
    assert asyncio.run(context.read_artifact("r1.1")) is None


def test_the_key_is_the_run_and_the_call() -> None:
    assert Context(run_id="r7", call_id="2.3").key == "r7/2.3"
    assert Context(run_id="r7", call_id="2.3", key="given").key == "given"


def test_the_seconds_left_never_fall_below_zero() -> None:
    left = Context(deadline=time.monotonic() + 10).seconds_left
    assert left is not None and 9 < left <= 10
    assert Context(deadline=time.monotonic() - 10).seconds_left == 0


def test_the_log_knows_the_call() -> None:
    with capture_logs() as logged:
        Context(run_id="r1", call_id="2.1", tenant="acme", agent="clerk").log.info("looked_up", rows=3)
    assert logged == [
        {"event": "looked_up", "rows": 3, "run_id": "r1", "call_id": "2.1", "tenant": "acme", "agent": "clerk",
         "log_level": "info"}
    ]  # fmt: skip


def ask(child: ChildRun, depth: int = 0) -> tuple[Any, Context[Any]]:
    async def run(agent: Any, task: Any, context: Context[Any]) -> ChildRun:
        return child

    context: Context[Any] = Context(depth=depth, on_run_agent=run)
    agent: Any = object()
    return asyncio.run(context.run_agent(agent, "task")), context


def test_the_tokens_of_a_child_run_are_spent_by_the_call() -> None:
    output, context = ask(ChildRun("found", Tokens(10, 0, 2)))
    assert (output, context.spent) == ("found", Tokens(10, 0, 2))


def test_a_child_run_without_answer_is_an_error_that_the_model_reads() -> None:
    with pytest.raises(ToolError, match="budget ended"):
        ask(ChildRun(None, Tokens(), "budget ended"))


def test_agents_call_agents_only_so_deep() -> None:
    assert ask(ChildRun("ok", Tokens()), depth=MAX_DEPTH - 1)[0] == "ok"
    with pytest.raises(ToolError, match="3 levels deep"):
        ask(ChildRun("ok", Tokens()), depth=MAX_DEPTH)


def test_without_a_planner_no_agent_can_be_run() -> None:
    agent: Any = object()
    with pytest.raises(Misuse):
        asyncio.run(Context().run_agent(agent, "task"))
