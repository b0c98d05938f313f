"""Run an agent in this process: create, claim, drive, and turn the end into a result.

The same `drive_claim` serves a worker that takes over a run from a journal, so in-process runs and durable ones
differ in their journal only.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from ..errors import RunIncomplete
from ..memory.journal.contract import Journal
from ..memory.journal.ids import new_run_id
from . import events as ev
from .drive import drive_claim
from .loop import tell
from .state import RunState
from .surroundings import arrange
from .task import checked_task

if TYPE_CHECKING:
    from ..agents.agent import Agent
    from ..agents.limits import Limits
    from ..inference.endpoint import Endpoint

Out = TypeVar("Out")


@dataclass(frozen=True, slots=True)
class RunResult(Generic[Out]):
    """How a run ended, or why it waits.

    Attributes:
        agent: Whose run it was.
        state: The last state: status, reason, prompt, tokens, everything.
    """

    agent: "Agent[Out]"
    state: RunState

    @property
    def run_id(self) -> str:
        """The run's id in its journal."""
        return self.state.created.run_id

    @property
    def status(self) -> ev.Status:
        """`succeeded`, another final status, or `waiting`."""
        return self.state.status

    @property
    def steps(self) -> int:
        """Steps the model took."""
        return self.state.step

    @property
    def output(self) -> Out:
        """The answer, as a value of the agent's output type.

        Raises:
            RunIncomplete: The run has no answer; the error says where it stands and why.
        """
        if self.state.output is None:
            raise RunIncomplete(self.run_id, self.status, self.state.reason or "", self.state.detail)
        return self.agent.parse_output(self.state.output)


async def run_agent(
    agent: "Agent[Out]",
    task: Any,
    *,
    endpoint: "Endpoint | None" = None,
    journal: Journal | None = None,
    tenant: str = "local",
    run_id: str | None = None,
    limits: "Limits | None" = None,
    thread_id: str | None = None,
    metadata: Mapping[str, Any] | None = None,
    **hooks: Any,
) -> RunResult[Out]:
    """Run an agent on a task in this process.

    Args:
        agent: The definition.
        task: Text, or any JSON value.
        endpoint: The model; without one the agent's own, else the one that the settings name.
        journal: Where to write the run down; without one in memory, gone with the result.
        tenant: Whose run it is.
        run_id: Id to use; a run of that id must not exist.
        limits: Budgets, where they are smaller than the agent's own.
        thread_id: Conversation that the run belongs to.
        metadata: JSON object kept with the run.
        **hooks: Fields of `Surroundings`, such as `on_event`, `review`, `prices`, `resources`, `now_ms`.

    Returns:
        The result, also of a run that failed; a model that cannot be reached is a failed run.

    Raises:
        TaskInvalid: The task is empty, not JSON or too large.
        RunExists: `run_id` is taken.
        JournalUnavailable: The run could not be written down; nothing was started.
    """
    around, close = await arrange(agent, endpoint, journal, hooks)
    try:
        budget = agent.limits if limits is None else agent.limits.within(limits)
        created = ev.RunCreated(
            run_id=run_id or new_run_id(tenant), tenant=tenant, agent=agent.name, agent_hash=agent.hash,
            task=checked_task(task), limits=budget.as_dict(), thread_id=thread_id, metadata=metadata or {},
            created_ms=around.now_ms(),
        )  # fmt: skip
        await around.journal.create(created)
        if around.on_event:
            tell(around.on_event, created)
        claim = await around.journal.claim(created.run_id, "in-process", ttl_s=around.lease_s)
        return RunResult(agent, await drive_claim(agent, claim, around))
    finally:
        await close()


async def resume_run(
    agent: "Agent[Out]",
    run_id: str,
    *,
    journal: Journal,
    endpoint: "Endpoint | None" = None,
    **hooks: Any,
) -> RunResult[Out]:
    """Take up a run where its journal ends: after a crash, or when what it waited for has come.

    Raises:
        RunNotFound, RunBusy: There is no such run, it is final, or another process holds it.
        AgentChanged: The run was started with another definition.
    """
    around, close = await arrange(agent, endpoint, journal, hooks)
    try:
        claim = await journal.claim(run_id, "in-process", ttl_s=around.lease_s)
        return RunResult(agent, await drive_claim(agent, claim, around))
    finally:
        await close()
