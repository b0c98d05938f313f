"""An agent: instructions, tools, the type of its answer and its limits."""

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, Literal, cast

from typing_extensions import TypeVar

from ..tools import Tool
from ..tools.validation import StrictJson
from .instructions import Instructions, RunContext
from .limits import Limits
from .memory import Memory

if TYPE_CHECKING:
    from ..inference.endpoint import Endpoint
    from ..planner.loop import RunResult

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
        resources: Factory of an async context manager whose value tools find at `Context.resources`.
        plan: Write a plan before the first step.
        reflect: Write a reflection after failures.
        samples: Runs of the last step whose answers are voted on; 1 turns voting off.
        temperature: 0 is greedy.
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
    output_type: type[Out] = cast(Any, str)
    limits: Limits = Limits()
    model: "str | Endpoint | None" = None
    memory: Memory = Memory()
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
    _output: StrictJson = field(init=False)

    def __repr__(self) -> str:
        return f"Agent({self.name!r})"

    def parse_output(self, json_text: str) -> Out:
        """Validate an answer strictly and return it as a value of the output type.

        Raises:
            DecisionInvalid: The text is not JSON or not of the output type.
        """
        raise NotImplementedError

    async def render_instructions(self, context: RunContext) -> str:
        """Return the instructions as text for one run."""
        raise NotImplementedError

    def as_tool(self, name: str | None = None, description: str | None = None) -> Tool[..., Any]:
        """Return a tool (`effect="keyed"`, one parameter `task: str`) that runs this agent and returns its answer.

        The inner run spends what is left of the outer run's budgets, and at most its own limits.
        """
        raise NotImplementedError

    async def run(self, task: Any, **options: Any) -> "RunResult[Out]":
        """Run the agent in this process and return its result. Options: those of `planner.loop.run_agent`."""
        raise NotImplementedError

    def run_sync(self, task: Any, **options: Any) -> "RunResult[Out]":
        """`run` for code without an event loop."""
        raise NotImplementedError
