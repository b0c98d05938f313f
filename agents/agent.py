"""An agent: instructions, tools, the type of its answer and its limits."""

import asyncio
import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, Literal, cast

from typing_extensions import TypeVar

from ..errors import DecisionInvalid, DefinitionInvalid, Misuse
from ..tools import Context, Tool, tool
from ..tools.validation import InvalidJson, StrictJson
from .checks import agent_problems
from .instructions import Instructions, RunContext, fingerprint, render
from .limits import Limits
from .memory import Memory
from .output import read_output

if TYPE_CHECKING:
    from ..inference.endpoint import Endpoint
    from ..memory.journal.contract import Journal
    from ..planner.run import RunResult

Out = TypeVar("Out", default=str)
Resources = Callable[[], AbstractAsyncContextManager[Any]]


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Agent(Generic[Out]):
    """A typed definition. Every run pins its `hash`.

    Attributes:
        name: What callers, journals and other agents call it.
        instructions: System prompt: text, or a function of `RunContext`, sync or async.
        tools: What it may call, in the order in which the model reads them.
        output_type: Type of its answer: `str`, or anything that pydantic can read from JSON.
        limits: Budgets of each run.
        model: Name of the model, an endpoint, or `None` for the process's own.
        memory: What it remembers.
        resources: Factory of an async context manager whose value tools find at `Context.resources`; opened once per
            process and closed at drain.
        plan: Write a plan before the first step.
        reflect: Write a reflection after failures.
        samples: Decisions drawn per step, between which a vote is taken; 1 turns voting off.
        temperature: 0 is greedy; a vote needs more, because equal samples cannot vote.
        in_doubt: What happens when nobody knows whether a `once` call took effect: `wait` for a person, or `tell`
            the model.
        description: What other agents read about it when it is their tool.
        output_schema: JSON Schema of the answer.
        output_constraint: The same as canonical JSON text.
        hash: sha256 of everything above that changes what a run does.

    Raises:
        DefinitionInvalid: Something is wrong; every problem is listed with its path.
    """

    name: str
    instructions: Instructions
    tools: Sequence[Tool[..., Any]] = ()
    output_type: type[Out] = cast(Any, str)  # noqa: RUF009 - the default of `Out`
    limits: Limits = field(default_factory=Limits)
    model: "str | Endpoint | None" = None
    memory: Memory = field(default_factory=Memory)
    resources: Resources | None = None
    plan: bool = False
    reflect: bool = False
    samples: int = 1
    temperature: float = 0.0
    in_doubt: Literal["wait", "tell"] = "wait"
    description: str = ""
    output_schema: dict[str, Any] = field(init=False)
    output_constraint: str = field(init=False)
    hash: str = field(init=False)
    _validator: StrictJson = field(init=False)

    def __post_init__(self) -> None:
        if isinstance(self.tools, Iterable):
            self._set("tools", tuple(self.tools))
        problems = list(agent_problems(self))
        output = read_output(self.output_type, problems)
        if problems or output is None:
            raise DefinitionInvalid(f"agent {self.name!r}", problems)
        self._set("output_schema", output.schema)
        self._set("output_constraint", output.constraint)
        self._set("_validator", output.validator)
        self._set("hash", _hash(self))

    def __repr__(self) -> str:
        return f"Agent({self.name!r})"

    def _set(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)

    def parse_output(self, json_text: str) -> Out:
        """Validate an answer strictly and return it as a value of the output type.

        Raises:
            DecisionInvalid: The text is not JSON or not of the output type.
        """
        try:
            return cast(Out, self._validator.parse(json_text))
        except InvalidJson as exc:
            raise DecisionInvalid(f"the answer is invalid: {exc}", json_text) from None

    def answer_problems(self, json_text: str) -> str:
        """Return what is wrong with an answer, in words for the model; empty when nothing is."""
        try:
            self._validator.parse(json_text)
        except InvalidJson as exc:
            return str(exc)
        return ""

    async def render_instructions(self, context: RunContext) -> str:
        """Return the instructions as text for one run."""
        return await render(self.instructions, context)

    def as_tool(self, name: str | None = None, description: str | None = None) -> Tool[..., Any]:
        """Return a tool (`effect="keyed"`, one parameter `task: str`) that runs this agent and returns its answer.

        The inner run spends what is left of the outer run's budgets, and at most its own limits.

        Args:
            name: What the outer model calls it; the agent's own name when left out, with `_` for `-`.
            description: What the outer model reads; the agent's own description when left out.

        Raises:
            DefinitionInvalid: There is no description, or the name is not one.
        """

        async def ask(task: str, context: Context) -> Any:
            """Ask another agent.

            Args:
                task: What it shall do, complete in itself: it sees nothing else of this conversation.
            """
            return await context.run_agent(self, task)

        about = description or self.description
        if not about.strip():
            raise DefinitionInvalid(f"agent {self.name!r} as a tool", ["description: say when to ask this agent"])
        return tool(
            ask,
            name=name or self.name.replace("-", "_"),
            description=about,
            effect="keyed",
            timeout_s=self.limits.deadline_s,
            agent=self,
        )

    async def run(
        self,
        task: Any,
        *,
        endpoint: "Endpoint | None" = None,
        journal: "Journal | None" = None,
        tenant: str = "local",
        **options: Any,
    ) -> "RunResult[Out]":
        """Run the agent in this process, without any server.

        Args:
            task: Text, or any JSON value.
            endpoint: The model; without one the agent's own, else the one that the settings name.
            journal: Where to write the run down; without one in memory, gone with the result.
            tenant: Whose run it is.
            **options: The further options of `run_agent`.
        """
        from ..planner.run import run_agent

        return await run_agent(self, task, endpoint=endpoint, journal=journal, tenant=tenant, **options)

    def run_sync(self, task: Any, **options: Any) -> "RunResult[Out]":
        """`run` for code without an event loop; same options.

        Raises:
            Misuse: An event loop is running, as in a notebook: `await agent.run(...)` there.
        """
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            pass  # as it should be: outside of the handler, errors of the run do not drag this one along
        else:
            raise Misuse("an event loop is running here: use `await agent.run(...)` instead of `run_sync`")
        return asyncio.run(self.run(task, **options))


def _hash(agent: Agent[Any]) -> str:
    model = agent.model if agent.model is None or isinstance(agent.model, str) else agent.model.name
    memory = agent.memory
    pinned = {
        "instructions": fingerprint(agent.instructions),
        "tools": [each.hash for each in agent.tools],
        "output": agent.output_constraint,
        "limits": agent.limits.as_dict(),
        "model": model,
        "memory": [memory.conversation, memory.semantic, memory.episodic, memory.window_tokens],
        "planner": [agent.plan, agent.reflect, agent.samples, agent.temperature, agent.in_doubt],
    }
    return hashlib.sha256(json.dumps(pinned).encode()).hexdigest()
