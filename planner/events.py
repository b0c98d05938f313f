"""The vocabulary of the journal: everything that can happen to a run, as frozen values.

The state of a run is the fold of its events (`planner.state`), so an event carries all that the fold needs and
nothing that can be derived. Events are checked when they come in from outside (`decode`), not when our own code
makes them. Stored form: one JSON object with `v` (schema version), `type` and the fields.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar, cast, dataclass_transform, get_args

from pydantic import TypeAdapter, ValidationError
from pydantic_core import from_json

from ..errors import JournalCorrupt

SCHEMA_VERSION = 1
T = TypeVar("T")


@dataclass_transform(frozen_default=True)
def value(kind: type[T]) -> type[T]:
    """Make a data class that is frozen for the type checker only: a frozen `__init__` costs four times as much."""
    return dataclass(slots=True, unsafe_hash=True)(kind)


Effect = Literal["read", "keyed", "once"]
Priority = Literal["high", "normal", "low"]
Overlap = Literal["reject", "enqueue", "interrupt"]
Status = Literal["queued", "running", "waiting", "succeeded", "failed", "cancelled", "expired"]
WaitReason = Literal["approval", "in_doubt", "tool", "timer"]
FINAL: frozenset[Status] = frozenset({"succeeded", "failed", "cancelled", "expired"})
PEOPLE: frozenset[str] = frozenset({"approval", "in_doubt"})
"""What a run waits for when it waits for a person."""


@value
class ToolCall:
    """One call of a decision. `id` is `step.index`, both from 1; `arguments` is JSON text, byte for byte as decided."""

    id: str
    tool: str
    arguments: str


@value
class Tokens:
    """Tokens and money of one model turn; `cost` in the currency of the endpoint's price list."""

    prompt: int = 0
    cached: int = 0
    completion: int = 0
    cost: float = 0.0

    def __add__(self, other: "Tokens") -> "Tokens":
        return Tokens(
            self.prompt + other.prompt,
            self.cached + other.cached,
            self.completion + other.completion,
            self.cost + other.cost,
        )


NO_TOKENS = Tokens()
"""Shared by all turns whose endpoint counted nothing."""


@value
class Said:
    """One message of a conversation: what the user asked, or what the agent answered."""

    role: Literal["user", "assistant"]
    text: str


@value
class RunCreated:
    """A task was accepted. Always the first event.

    Attributes:
        thread_id: Conversation that the run belongs to.
        parent_run: Run whose call this run is, with the call in `parent_call`.
        metadata: JSON object of the caller, kept with the run and never shown to the model.
        model: Name of a model to ask instead of the agent's own.
        priority: Which of the queues wakes the run.
        webhook: URL that is told of the end, and of waits.
        forked_from: Run whose first events this run took over.
        by: Key under which it was submitted.
    """

    run_id: str
    tenant: str
    agent: str
    agent_hash: str
    task: Any
    limits: Mapping[str, float | int | None] = field(default_factory=dict)
    thread_id: str | None = None
    parent_run: str | None = None
    parent_call: str | None = None
    depth: int = 0
    metadata: Mapping[str, Any] = field(default_factory=dict)
    created_ms: int = 0
    model: str | None = None
    priority: Priority = "normal"
    webhook: str | None = None
    forked_from: str | None = None
    by: str = ""
    type: Literal["run.created"] = "run.created"


@value
class RunClaimed:
    """A worker took the run; one more attempt."""

    epoch: int
    worker: str
    type: Literal["run.claimed"] = "run.claimed"


@value
class RunReleased:
    """The worker gave an unfinished run back on purpose, so the next claim does not mean that a worker died.

    Attributes:
        reason: `drain`, `model_unavailable`, `agent_missing`, `stepped` and the like.
        detail: The same for people.
        at_ms: When, by the worker's clock.
    """

    reason: str
    detail: str = ""
    at_ms: int = 0
    type: Literal["run.released"] = "run.released"


@value
class RunStarted:
    """The head of the prompt was rendered. Journaled, because instructions may depend on the moment.

    Attributes:
        head: The system message.
        history: What was said in the thread before, oldest first, user and assistant in turns.
    """

    head: str
    history: tuple[Said, ...] = ()
    type: Literal["run.started"] = "run.started"


@value
class StepDecided:
    """The model decided: calls, or an answer (JSON text).

    Attributes:
        step: Number of the step, from 1.
        text: The whole reply as later prompts show it.
        calls: What is to be called; empty for an answer.
        answer: JSON text of the answer.
        tokens: What the turn cost, all its samples together.
        prompt_tokens: Length of the prompt with this reply, as the endpoint counted; 0 when it did not.
    """

    step: int
    text: str
    calls: tuple[ToolCall, ...] = ()
    answer: str | None = None
    tokens: Tokens = NO_TOKENS
    prompt_tokens: int = 0
    type: Literal["step.decided"] = "step.decided"


@value
class StepRejected:
    """The model's reply was no valid decision; it is shown the problem and asked again."""

    step: int
    text: str
    problem: str
    tokens: Tokens = NO_TOKENS
    type: Literal["step.rejected"] = "step.rejected"


@value
class TurnTaken:
    """The model wrote a plan or a reflection: text that stays in the prompt and calls nothing."""

    kind: Literal["plan", "reflection"]
    prompt: str
    text: str
    tokens: Tokens = NO_TOKENS
    prompt_tokens: int = 0
    type: Literal["turn.taken"] = "turn.taken"


@value
class CallIntended:
    """A call with effects is about to be sent. Durable in the declared mode before the tool sees anything."""

    call_id: str
    tool: str
    effect: Effect
    key: str
    attempt: int = 1
    type: Literal["call.intended"] = "call.intended"


@value
class CallFinished:
    """A call has its observation.

    Attributes:
        call_id: The call.
        tool: Its tool.
        text: What the model is shown, already cut to the tool's budget.
        error: Machine-readable reason when the call failed, else `None`.
        artifact: Id of the full result when `text` is only a part of it.
        size: Length of the full result in characters.
        latency_ms: Wall time of the call.
        usage: Tokens spent inside the call, by a run of an agent used as a tool.
        by: Who said what became of the call, when a person settled a doubt.
    """

    call_id: str
    tool: str
    text: str
    error: str | None = None
    artifact: str | None = None
    size: int = 0
    latency_ms: int = 0
    usage: Tokens | None = None
    by: str = ""
    type: Literal["call.finished"] = "call.finished"


@value
class CallReviewed:
    """A person approved or refused a call that asked for approval.

    Attributes:
        call_id: The call.
        approved: Whether it may be made.
        by: Who decided.
        note: Reason of a refusal; the model reads it.
        arguments: JSON text to call the tool with instead; `None`: the arguments as decided.
        digest: What was decided about: the hash of tool, its version and the arguments that will be sent.
    """

    call_id: str
    approved: bool
    by: str = ""
    note: str = ""
    arguments: str | None = None
    digest: str = ""
    type: Literal["call.reviewed"] = "call.reviewed"


@value
class CallInDoubt:
    """A `once` call was sent and its outcome is not known; a person or the agent's policy decides.

    Attributes:
        call_id: The call.
        tool: Its tool.
        key: Idempotency key under which it was sent.
        problem: What is known of why, for the person who decides.
    """

    call_id: str
    tool: str
    key: str
    problem: str = ""
    type: Literal["call.in_doubt"] = "call.in_doubt"


@value
class Noticed:
    """The planner said something to the model, such as a nudge out of a loop."""

    kind: Literal["loop", "plan", "reflection", "carry_on"]
    text: str
    type: Literal["run.noticed"] = "run.noticed"


@value
class BudgetReached:
    """A limit was hit; the model gets one last turn in which it can only answer."""

    limit: str
    text: str
    type: Literal["budget.reached"] = "budget.reached"


@value
class PromptCompacted:
    """The prompt neared the window: the observations of these calls are now stubs that name their artifacts.

    Attributes:
        artifacts: Call id to the id of the artifact that holds its observation.
        before: Tokens of the prompt before.
    """

    artifacts: Mapping[str, str]
    before: int
    type: Literal["prompt.compacted"] = "prompt.compacted"


@value
class RunWaiting:
    """The run sleeps until somebody or something answers.

    Attributes:
        reason: What it waits for.
        call_ids: The calls that are waited for.
        expires_ms: Moment at which nobody needs to answer any more; `None`: never.
        at_ms: When it fell asleep, by the worker's clock; 0: not told.
        runs: Runs of agents used as tools that it waits for.
    """

    reason: WaitReason
    call_ids: tuple[str, ...] = ()
    expires_ms: int | None = None
    at_ms: int = 0
    runs: tuple[str, ...] = ()
    type: Literal["run.waiting"] = "run.waiting"


@value
class RunResumed:
    """The run is looked at again: what it waited for has come, or it is time to see whether it has.

    Attributes:
        at_ms: When, by the worker's clock; 0: not told.
    """

    at_ms: int = 0
    type: Literal["run.resumed"] = "run.resumed"


@value
class RunSucceeded:
    """Final: the answer, as JSON text that validates against the agent's output type."""

    output: str
    type: Literal["run.succeeded"] = "run.succeeded"


@value
class RunFailed:
    """Final: no answer. `reason` is machine-readable, `detail` for people."""

    reason: str
    detail: str = ""
    type: Literal["run.failed"] = "run.failed"


@value
class RunCancelled:
    """Final: somebody asked the run to stop."""

    reason: str = "requested"
    type: Literal["run.cancelled"] = "run.cancelled"


@value
class RunExpired:
    """Final: the deadline passed."""

    detail: str = ""
    type: Literal["run.expired"] = "run.expired"


FinalEvent = RunSucceeded | RunFailed | RunCancelled | RunExpired
Event = (
    RunCreated
    | RunClaimed
    | RunReleased
    | RunStarted
    | StepDecided
    | StepRejected
    | TurnTaken
    | CallIntended
    | CallFinished
    | CallReviewed
    | CallInDoubt
    | Noticed
    | BudgetReached
    | PromptCompacted
    | RunWaiting
    | RunResumed
    | RunSucceeded
    | RunFailed
    | RunCancelled
    | RunExpired
)


_KINDS: tuple[type[Any], ...] = get_args(Event)
_ADAPTERS: dict[str, TypeAdapter[Any]] = {}
_PREFIX = b'{"v":%d,' % SCHEMA_VERSION


def encode(event: Event) -> bytes:
    """Return the stored form of an event: compact JSON that begins with the schema version."""
    return _PREFIX + _adapters()[event.type].serializer.to_json(event)[1:]


def decode(data: bytes | str) -> Event:
    """Validate a stored event.

    Raises:
        JournalCorrupt: The bytes are no event of a known type and version.
    """
    try:
        value = from_json(data, allow_inf_nan=False)
    except ValueError as exc:
        raise JournalCorrupt(f"an event is not JSON: {exc}") from exc
    if not isinstance(value, dict) or value.pop("v", None) != SCHEMA_VERSION:
        raise JournalCorrupt(f"an event has no schema version {SCHEMA_VERSION}: {data[:80]!r}")
    adapter = _adapters().get(value.get("type", ""))
    if adapter is None:
        raise JournalCorrupt(f"unknown type of event: {value.get('type')!r}")
    try:
        return cast(Event, adapter.validate_python(value))
    except ValidationError as exc:
        raise JournalCorrupt(f"event {value['type']} does not validate: {exc}") from exc


def _adapters() -> dict[str, TypeAdapter[Any]]:
    """Build the validators at first use: importing this file stays cheap."""
    if not _ADAPTERS:
        _ADAPTERS.update({kind.__dataclass_fields__["type"].default: TypeAdapter(kind) for kind in _KINDS})
    return _ADAPTERS
