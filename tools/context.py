"""What a running tool may know of its run, and what it may ask of it."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, cast

from typing_extensions import TypeVar

from ..errors import Misuse, ToolError

if TYPE_CHECKING:
    from ..agents.agent import Agent
    from ..planner.events import Tokens

R = TypeVar("R", default=Any)

MAX_DEPTH = 3
"""How many agents may stand below the first one: a run at this depth starts no further run."""


@dataclass(frozen=True, slots=True)
class ChildRun:
    """What a run of an agent used as a tool came to.

    Attributes:
        output: The child's answer, a value of its output type; meaningless when `error` is set.
        tokens: Everything it spent, also when it failed.
        error: Why there is no answer, in words that the parent's model may read.
    """

    output: Any
    tokens: "Tokens"
    error: str | None = None


@dataclass(slots=True)
class Context(Generic[R]):
    """Given to a tool that has a parameter annotated `Context` or `Context[MyResources]`; never part of its schema.

    Every field has a default, so that a test can write `Context(resources=Fake())`.

    Attributes:
        run_id: The run.
        call_id: The call within the run: `step.index`, both from 1.
        key: Idempotency key: the same for every attempt of this call, different for every other call.
        tenant: Whose run it is.
        agent: Name of the agent that called.
        resources: What the agent's `resources` factory opened, shared by all runs of the process; never printed.
        deadline: Moment (`time.monotonic()`) when the run must end, or `None`.
        attempt: Which attempt of this call this is, from 1.
        depth: How many agents stand above the one that called.
        memory: The tenant's memory, or `None` where there is none.
        spent: Tokens spent inside the call so far; add with `spend`.
        on_progress: Where `progress` goes, in the event loop; must not block.
        on_read_artifact: Where `read_artifact` goes.
        on_run_agent: Where `run_agent` goes: `(agent, task, context) -> ChildRun`.
        loop: Set while a tool runs in a thread, so that `progress` finds its way back; not for tools.
    """

    run_id: str = "local"
    call_id: str = "1.1"
    key: str = ""
    tenant: str = "local"
    agent: str = ""
    resources: R = field(default=cast(Any, None), repr=False)
    deadline: float | None = None
    attempt: int = 1
    depth: int = 0
    memory: Any = field(default=None, repr=False)
    spent: "Tokens | None" = None
    on_progress: Callable[[str, float | None], None] | None = field(default=None, repr=False)
    on_read_artifact: Callable[[str], Awaitable[str | None]] | None = field(default=None, repr=False)
    on_run_agent: "Callable[[Agent[Any], Any, Context[Any]], Awaitable[ChildRun]] | None" = field(
        default=None, repr=False
    )
    loop: asyncio.AbstractEventLoop | None = field(default=None, repr=False)
    _log: Any = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        self.key = self.key or f"{self.run_id}/{self.call_id}"

    @property
    def seconds_left(self) -> float | None:
        """Seconds until the run must end, never below 0; `None` without a deadline."""
        return None if self.deadline is None else max(0.0, self.deadline - time.monotonic())

    @property
    def log(self) -> Any:
        """A structlog logger with run, call, agent and tenant bound to it."""
        if self._log is None:
            import structlog

            ids = {"run_id": self.run_id, "call_id": self.call_id, "agent": self.agent, "tenant": self.tenant}
            self._log = structlog.get_logger("loopwright.tools").bind(**ids)
        return self._log

    def progress(self, text: str, fraction: float | None = None) -> None:
        """Tell whoever watches the run how far the call is. Transient: not journaled, lost when nobody listens.

        Args:
            text: What is going on.
            fraction: Part that is done, between 0 and 1.
        """
        if self.on_progress is None:
            return
        if self.loop is None:
            self.on_progress(text, fraction)
        else:
            self.loop.call_soon_threadsafe(self.on_progress, text, fraction)

    def spend(self, tokens: "Tokens") -> None:
        """Count tokens spent inside this call towards the run's budget."""
        before = self.spent
        self.spent = tokens if before is None else before + tokens

    async def read_artifact(self, artifact_id: str) -> str | None:
        """Return the full text of an earlier result of this run, or `None` when there is no such artifact."""
        return None if self.on_read_artifact is None else await self.on_read_artifact(artifact_id)

    async def run_agent(self, agent: "Agent[Any]", task: Any) -> Any:
        """Run another agent on a task, within what is left of this run's budgets, and return its output.

        Raises:
            ToolError: The other agent found no answer, or agents are nested too deeply.
            Misuse: There is no planner around, as in a unit test without `on_run_agent`.
        """
        if self.depth >= MAX_DEPTH:
            raise ToolError(f"agents may call agents only {MAX_DEPTH} levels deep")
        if self.on_run_agent is None:
            raise Misuse("this context cannot run agents: it belongs to no run")
        child = await self.on_run_agent(agent, task, self)
        self.spend(child.tokens)
        if child.error is not None:
            raise ToolError(child.error)
        return child.output
