"""Carry out tool calls: validate, declare the intent, send, observe.

The order is the promise: arguments are validated in full before anything else; a call with effects is journaled
durably before its tool sees it; every result is journaled the moment it is there. `read` calls may start while
the model still writes, because a repeated one harms nobody.
"""

import asyncio
import time
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from pydantic_core import from_json, to_json

from ..errors import ForModel, Misuse, ToolWithdrawn, UnknownTool
from ..tools.context import ChildRun, Context
from ..tools.execute import Outcome, execute, reconcile
from ..tools.tool import Tool
from ..tools.truncate import fit
from . import events as ev
from .remote import RemoteRunner, Sending
from .state import OpenCall
from .together import together

if TYPE_CHECKING:
    from ..agents.agent import Agent
    from .loop import RunLoop

REFUSAL_TOKENS = 500
"""Room for the reason why a call was not made; it may quote the model."""

CHILD_CHECK_S = 600.0
"""Seconds after which a run looks at a run that it waits for, though nobody told it of its end."""

UNKNOWN_OUTCOME = "It is not known whether this call took effect. Do not repeat it; say so in your answer."


class ChildWaits(BaseException):
    """A run inside of a call waits; the call is made again, and finds the same run, when that goes on.

    Not an `Exception`: it passes through the code of tools.

    Attributes:
        run_id: The run.
        reason: What it waits for.
    """

    def __init__(self, run_id: str, reason: ev.WaitReason) -> None:
        super().__init__(run_id)
        self.run_id = run_id
        self.reason = reason


class Prepared(NamedTuple):
    """A call whose arguments have passed full validation."""

    open: OpenCall
    tool: Tool[..., Any]
    arguments: dict[str, Any]


class _Early(NamedTuple):
    tool: str
    arguments: str
    task: "asyncio.Task[Outcome]"


class CallRunner:
    """Runs the calls of one run."""

    def __init__(self, loop: "RunLoop") -> None:
        self._loop = loop
        self._early: dict[str, _Early] = {}
        self._dropped: list[asyncio.Task[Outcome]] = []
        self._remote = RemoteRunner(loop, self)
        self._children: dict[str, ChildWaits] = {}

    async def run(self, calls: Sequence[OpenCall]) -> bool:
        """Execute open calls at the same time and append what comes of them; return whether the run goes on.

        It sleeps while calls are left that other workers make, or whose own runs wait.
        """
        self._children.clear()
        prepared = [ready for each in calls if (ready := self._prepare(each))]
        away = [each for each in prepared if self._remote.is_remote(each.tool)]
        self._remote.checks.clear()
        if away:
            prepared = [each for each in prepared if each not in away]
        sendings = await self._remote.collect(away) if away else ()
        if sendings or any(each.tool.effect != "read" for each in prepared):
            prepared = await self._declare(prepared, sendings)
        if sendings:
            await self._remote.send(sendings)
        if len(prepared) == 1:
            await self._finish(prepared[0])
        elif prepared:
            await together([self._finish(each) for each in prepared])
        if away:
            await self._remote.wait_for(away)
        if not self._remote.checks and not self._children:
            return True
        self._loop.append(self._waiting())
        return False

    def _waiting(self) -> ev.RunWaiting:
        children = self._children.values()
        reason: ev.WaitReason = "tool"
        if not self._remote.checks and all(each.reason in ev.PEOPLE for each in children):
            reason = next(each.reason for each in children)
        call_ids = (*self._remote.checks, *self._children)
        runs = tuple([each.run_id for each in children])
        return ev.RunWaiting(reason, call_ids, None, self._loop.around.now_ms(), runs)

    @property
    def checks(self) -> list[float]:
        """Seconds after which somebody should look at calls that are made elsewhere, one for each."""
        return [*self._remote.checks.values(), *[CHILD_CHECK_S] * len(self._children)]

    async def collect_late(self, call_ids: Sequence[str]) -> bool:
        """Append results that other workers left of calls in doubt; return whether there were any."""
        asked = [each for each in self._loop.state.open if each.call.id in call_ids]
        tools = self._loop.blueprint.tools
        away = [each for each in asked if each.call.tool in tools and self._remote.is_remote(tools[each.call.tool])]
        prepared = [ready for each in away if (ready := self._prepare(each))]
        return bool(prepared) and await self._remote.collect_late(prepared)

    def start_early(self, index: int, text: str) -> None:
        """Start a call while the model still writes, if its tool only reads and the call is valid.

        Args:
            index: Place of the call in the decision, from 0.
            text: JSON text of the call object.
        """
        state = self._loop.state
        if state.tool_calls + index >= self._loop.budget.tool_calls:
            return
        call_id = f"{state.step + 1}.{index + 1}"
        try:
            value = from_json(text, allow_inf_nan=False)
            tool = self._loop.blueprint.tools.get(value["tool"])
            if tool is None or tool.name not in self._loop.blueprint.early or self._remote.is_remote(tool):
                return
            arguments = to_json(value["arguments"]).decode()
            prepared = Prepared(OpenCall(ev.ToolCall(call_id, tool.name, arguments)), tool, tool.parse(arguments))
        except (ForModel, ValueError, KeyError, TypeError):
            return  # the decision as a whole is judged when it is complete
        task = asyncio.get_running_loop().create_task(self._execute(prepared))
        self._early[call_id] = _Early(tool.name, arguments, task)

    def cancel_early(self) -> None:
        """Give up calls that were started for a decision which did not come to be."""
        for each in self._early.values():
            each.task.cancel()
            self._dropped.append(each.task)
        self._early.clear()

    async def drop_early(self) -> None:
        """Cancel and collect whatever is left over."""
        self.cancel_early()
        if self._dropped:
            await asyncio.gather(*self._dropped, return_exceptions=True)
            self._dropped.clear()

    def refuse_hopeless(self, call_ids: Sequence[str]) -> bool:
        """Finish those of these calls that cannot be made anyway: they are not worth a question to a person."""
        asked = [each for each in self._loop.state.open if each.call.id in call_ids]
        return len([ready for each in asked if (ready := self._prepare(each))]) < len(asked)

    def _prepare(self, each: OpenCall) -> Prepared | None:
        """Validate a call; one that cannot be made is finished here with what the model needs to know."""
        call, loop = each.call, self._loop
        tool = loop.blueprint.tools.get(call.tool)
        try:
            if tool is None or (tool is loop.blueprint.hidden and not loop.state.truncated):
                raise UnknownTool(call.tool, ", ".join(sorted(tool.name for tool in loop.blueprint.listed)))
            if loop.state.tool_calls > loop.budget.tool_calls and self._is_over_budget(each):
                raise ToolWithdrawn(call.tool, "the budget of tool calls is used up")
            arguments = tool.parse(call.arguments)
        except ForModel as exc:
            self._refuse(each, exc.code, str(exc))
            return None
        if each.reviewed and not each.reviewed.approved:
            self._refuse(each, "rejected", f"A person refused this call. {each.reviewed.note}".strip())
            return None
        return Prepared(each, tool, arguments)

    def _is_over_budget(self, each: OpenCall) -> bool:
        """Return whether a call of this step stands behind the last one that the budget allows."""
        state = self._loop.state
        allowed = len(state.open) - (state.tool_calls - self._loop.budget.tool_calls)
        return [one.call.id for one in state.open].index(each.call.id) >= allowed

    def _refuse(self, each: OpenCall, error: str, text: str) -> None:
        shown, _cut = fit(text, REFUSAL_TOKENS)
        self._loop.append(ev.CallFinished(each.call.id, each.call.tool, shown, error, None, len(text)))

    async def reconcile(self, each: Prepared, problem: str) -> bool:
        """Find out what became of a `once` call that was sent and not seen through; return whether to send it (again).

        Args:
            each: The call.
            problem: Why its result is not here, for the person who is asked when nobody knows.
        """
        call, key = each.open.call, self.key_of(each.open.call.id)
        known = await reconcile(each.tool, key)
        if known.state == "not_sent":
            return True
        if known.state == "done":
            self._observe(each, Outcome(known.result, size=len(known.result)))
        else:
            self._doubt(call, problem)
        return False

    def _doubt(self, call: ev.ToolCall, problem: str) -> None:
        if self._loop.blueprint.agent.in_doubt == "tell":
            done = ev.CallFinished(call.id, call.tool, UNKNOWN_OUTCOME, "outcome_unknown", None, len(UNKNOWN_OUTCOME))
            self._loop.append(done)
        else:
            self._loop.append(ev.CallInDoubt(call.id, call.tool, self.key_of(call.id), problem))

    async def _declare(self, prepared: Sequence[Prepared], sendings: Sequence[Sending]) -> list[Prepared]:
        """Journal the intents of calls with effects, wait until they are durable, and return what is to be made here.

        A `once` call that was sent before a crash is settled first; only one that surely was not sent is left.
        """
        before = [each for each in prepared if each.open.intended and each.tool.effect == "once"]
        problem = "the process ended before the result was stored"
        settled = [each for each in before if not await self.reconcile(each, problem)]
        left = [each for each in prepared if each not in settled]
        intents = [self._intent(each, _attempts(each) + 1) for each in left if each.tool.effect != "read"]
        intents += [self._intent(each.prepared, each.attempt) for each in sendings if each.needs_intent]
        if intents:
            self._loop.append(*intents)
            await self._loop.checkpoint(durable=True)
        return left

    def _intent(self, each: Prepared, attempt: int) -> ev.CallIntended:
        call_id = each.open.call.id
        return ev.CallIntended(call_id, each.tool.name, each.tool.effect, self.key_of(call_id), attempt)

    async def _finish(self, each: Prepared) -> None:
        """Get the outcome of a call and append it, unless a run inside of it waits."""
        try:
            outcome = await self._outcome(each)
        except ChildWaits as exc:
            self._children[each.open.call.id] = exc
        else:
            await self.conclude(each, outcome)

    async def _outcome(self, each: Prepared) -> Outcome:
        """Return the outcome of a call, from its early start if it had one."""
        call = each.open.call
        early = self._early.pop(call.id, None)
        if early and (early.tool, early.arguments) == (call.tool, call.arguments):
            return await early.task
        if early:
            early.task.cancel()
            self._dropped.append(early.task)
        return await self._execute(each)

    async def conclude(self, each: Prepared, outcome: Outcome) -> None:
        """Append what came of a call, wherever it was made."""
        if outcome.unknown and each.tool.effect == "once":
            await self._settle(each, outcome)
        else:
            self._observe(each, outcome)

    async def _settle(self, each: Prepared, outcome: Outcome) -> None:
        """Find out what became of a `once` call that failed in a way that leaves it open whether it took effect."""
        known = await reconcile(each.tool, self.key_of(each.open.call.id))
        if known.state == "done":
            self._observe(each, Outcome(known.result, size=len(known.result)))
        elif known.state == "not_sent":
            self._observe(each, outcome)
        else:
            self._doubt(each.open.call, outcome.text)

    async def _execute(self, each: Prepared) -> Outcome:
        around, agent = self._loop.around, self._loop.blueprint.agent
        resources = await around.resources.get(agent) if around.resources and agent.resources else None
        return await execute(each.tool, each.arguments, self._context(each, resources))

    def _observe(self, each: Prepared, outcome: Outcome) -> None:
        call, artifact = each.open.call, f"r{each.open.call.id}"
        shown, cut = fit(outcome.text, each.tool.max_result_tokens, artifact)
        done = ev.CallFinished(
            call.id, call.tool, shown, outcome.error, artifact if cut else None, outcome.size,
            outcome.latency_ms, outcome.usage,
        )  # fmt: skip
        self._loop.append(done, artifacts={artifact: outcome.text} if cut else None)

    def _context(self, each: Prepared, resources: Any) -> Context[Any]:
        loop, call_id = self._loop, each.open.call.id
        created, around = loop.state.created, loop.around
        left = loop.seconds_left()
        return Context(
            run_id=created.run_id,
            call_id=call_id,
            key=self.key_of(call_id),
            tenant=created.tenant,
            agent=created.agent,
            resources=resources,
            deadline=None if left is None else time.monotonic() + left,
            attempt=_attempts(each) + 1,
            depth=created.depth,
            on_progress=partial(around.on_progress, call_id) if around.on_progress else None,
            on_read_artifact=self._read_artifact,
            on_run_agent=self._run_agent,
        )

    def key_of(self, call_id: str) -> str:
        """Idempotency key of a call: the same whenever and wherever the call is made again."""
        return f"{self._loop.state.created.run_id}/{call_id}"

    async def _read_artifact(self, artifact_id: str) -> str | None:
        """Return an artifact of this run, also one that is still being written."""
        await self._loop.around.journal.barrier(self._loop.lease)
        return await self._loop.around.journal.artifact(self._loop.lease.run_id, artifact_id)

    async def _run_agent(self, agent: "Agent[Any]", task: Any, context: Context[Any]) -> ChildRun:
        """Run an agent as a tool of this run."""
        if self._loop.around.run_child is None:
            raise Misuse("this process does not run agents inside of agents")
        return await self._loop.around.run_child(self._loop, agent, task, context)


def _attempts(each: Prepared) -> int:
    """Return how often the journal says that a call was made."""
    return each.open.intended.attempt if each.open.intended else 0
