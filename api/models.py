"""What travels over `/v1`, both ways: the contract between the API, the Python client and the command line.

Requests forbid unknown fields; answers may grow. Moments are RFC 3339 in UTC. Importing this file needs pydantic only.
"""

import re
from datetime import datetime
from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import (
    AfterValidator,
    AnyHttpUrl,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    WithJsonSchema,
)
from pydantic_core import to_json

from ..planner.events import Overlap, Priority, Status

T = TypeVar("T")
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,128}$")]
MAX_METADATA_BYTES = 16_384
"""Largest metadata, as JSON: lists show it."""


def _small(value: dict[str, JsonValue]) -> dict[str, JsonValue]:
    if value and (size := len(to_json(value))) > MAX_METADATA_BYTES:
        raise ValueError(f"has {size:,} bytes as JSON; at most {MAX_METADATA_BYTES:,} are kept")
    return value


Metadata = Annotated[dict[str, JsonValue], Field(max_length=64), AfterValidator(_small)]
Task = Annotated[
    JsonValue,
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "pattern": r"\S"},
                {"type": ["number", "boolean", "object", "array"]},
            ],
            "description": "Text that is not blank, or any JSON value but null.",
            "title": "Task",
        }
    ),
]
_RFC3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(?:\.\d+)?(?:[Zz]|[+-]\d\d:\d\d)")


def _moment(value: Any) -> Any:
    """Let through what is a moment already, and read RFC 3339; pydantic alone would take numbers and dates as well."""
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise ValueError("has no time zone; datetime.now(UTC) has one")
        return value
    if not isinstance(value, str) or not _RFC3339.fullmatch(value):
        raise ValueError("should be a moment as in RFC 3339, with its time zone, such as 2027-01-31T08:00:00Z")
    return datetime.fromisoformat(value.upper())


def _whole(value: Any) -> Any:
    """Let through 3.0 as well: JSON knows one kind of number."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


Natural = Annotated[int, Field(ge=0), BeforeValidator(_whole)]
"""A whole number from 0."""

Positive = Annotated[int, Field(ge=1), BeforeValidator(_whole)]
"""A whole number from 1."""

Moment = Annotated[datetime, BeforeValidator(_moment)]
"""A moment with its time zone."""


class Request(BaseModel):
    """A body that somebody sends us."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, defer_build=True)


class Answer(BaseModel):
    """A body that we send."""

    model_config = ConfigDict(frozen=True, defer_build=True)


class RunLimits(Request):
    """Budgets of a run; each can only be smaller than the agent's own."""

    max_steps: Positive | None = None
    max_tokens: Positive | None = None
    max_tool_calls: Natural | None = None
    max_cost: float | None = Field(default=None, gt=0)
    deadline_s: float | None = Field(default=None, gt=0)


class RunRequest(Request):
    """A task for an agent."""

    agent: Name
    task: Task
    thread_id: Name | None = Field(default=None, description="Conversation to go on with.")
    overlap: Overlap = Field(default="reject", description="What to do when another run of the thread has not ended.")
    limits: RunLimits | None = None
    model: str | None = Field(
        None, min_length=1, max_length=256, description="Model to ask instead of the agent's own."
    )
    priority: Priority = "normal"
    metadata: Metadata = Field(default_factory=dict, description="Kept with the run, never shown to the model.")
    webhook: AnyHttpUrl | None = Field(default=None, description="URL that is told when the run ends or waits.")
    after: Moment | None = Field(default=None, description="Moment before which the run is not started.")


class BatchRequest(Request):
    """Up to 1,000 tasks, each accepted or refused by itself."""

    runs: list[RunRequest] = Field(min_length=1, max_length=1000)


class CancelRequest(Request):
    """Why a run is to be cancelled."""

    reason: str = Field(default="requested", min_length=1, max_length=200)


class ForkRequest(Request):
    """A new run that takes over the first steps of another."""

    step: Natural = Field(default=0, description="How many steps are taken over, with their observations; 0: none.")
    task: Task | None = Field(default=None, description="Another task; left out: the same.")
    model: str | None = Field(
        default=None, min_length=1, max_length=256, description="Another model; left out: the same."
    )
    limits: RunLimits | None = None
    metadata: Metadata = Field(default_factory=dict)


class Usage(Answer):
    """Tokens and money of a run, child runs included."""

    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    cost: float = 0.0


class WaitingCall(Answer):
    """A call that a run waits for."""

    call_id: str
    tool: str
    arguments: str = Field(description="JSON text, byte for byte.")


class Waiting(Answer):
    """What a run waits for."""

    reason: str
    calls: list[WaitingCall] = []
    expires_at: datetime | None = None


class RunSummary(Answer):
    """A run as lists show it."""

    id: str
    agent: str
    status: Status
    reason: str | None = None
    step: int = 0
    created_at: datetime
    updated_at: datetime


class Run(RunSummary):
    """A run.

    `output` is the answer as a JSON value once the run has succeeded; `durability` names the mode in which it is
    kept, and so what a crash of Redis may take (docs/guarantees.md).
    """

    agent_hash: str = ""
    task: JsonValue = None
    output: JsonValue = None
    detail: str = ""
    attempts: int = 0
    thread_id: str | None = None
    parent_run: str | None = None
    forked_from: str | None = None
    model: str | None = None
    priority: Priority = "normal"
    metadata: dict[str, JsonValue] = {}
    limits: dict[str, JsonValue] = {}
    usage: Usage = Usage()
    waiting: Waiting | None = None
    durability: str = ""
    archived: bool = False


class Page(Answer, Generic[T]):
    """Some of a list; `next` is the cursor of the rest, or null at its end."""

    items: list[T]
    next: str | None = None


class RunEvent(Answer):
    """One event of a journal; `data` is the event as it is stored, `id` resumes a stream behind it."""

    id: str
    type: str
    at: datetime
    data: dict[str, JsonValue]


class BatchItem(Answer):
    """What became of one task of a batch: an id, or a problem."""

    index: int
    id: str | None = None
    problem: "Problem | None" = None


class BatchAnswer(Answer):
    """What became of each task of a batch, in its order."""

    items: list[BatchItem]


class RunExport(Answer):
    """Everything about a run in one file."""

    format: Literal["loopwright.run/1"] = "loopwright.run/1"
    run: Run
    agent: "AgentInfo | None" = Field(
        default=None, description="The definition, where this server still has that version."
    )
    messages: list[dict[str, str]] = Field(description="The prompt of the last step, rebuilt from the journal.")
    events: list[RunEvent]
    artifacts: dict[str, str] = {}


class Approval(Answer):
    """A call that a person must decide about, or whose outcome only a person can tell.

    `id` is the run's id and the call's id with a colon between. `digest` is the hash of the tool, its version and
    its arguments: a decision names it, and is void when anything has changed.
    """

    id: str
    run_id: str
    call_id: str
    kind: Literal["approval", "in_doubt"]
    agent: str
    tool: str
    arguments: str = Field(description="JSON text that will be sent, byte for byte.")
    digest: str
    thread_id: str | None = None
    asked_at: datetime
    expires_at: datetime | None = None


class Decision(Request):
    """What a person decided about a call.

    `approve` and `edit` (with `arguments`) and `reject` answer an `approval`; `happened` (with `result`) and
    `did_not_happen` answer an `in_doubt`.
    """

    decision: Literal["approve", "edit", "reject", "happened", "did_not_happen"]
    digest: str = Field(description="The approval's digest.")
    arguments: dict[str, JsonValue] | None = None
    result: str | None = Field(default=None, max_length=1_000_000)
    reason: str = Field(default="", max_length=2000)


class DecisionAnswer(Answer):
    """A decision as it was written down; `arguments` are the bytes that the tool will be sent."""

    run_id: str
    call_id: str
    decision: str
    by: str
    arguments: str | None = None


class ThreadRequest(Request):
    """A new conversation."""

    id: Name | None = None
    metadata: Metadata = Field(default_factory=dict)


class Thread(Answer):
    """A conversation: runs in order, one at a time."""

    id: str
    metadata: dict[str, JsonValue] = {}
    created_at: datetime
    updated_at: datetime
    messages: int = 0
    running: str | None = Field(default=None, description="Id of the run that has the thread now.")
    queued: list[str] = []


class ThreadMessage(Answer):
    """One message of a conversation."""

    id: str
    role: Literal["user", "assistant"]
    text: str
    run_id: str
    at: datetime


class ToolInfo(Answer):
    """A tool of an agent."""

    name: str
    description: str
    effect: str
    approval: bool
    queue: str | None
    parameters: dict[str, JsonValue]


class AgentInfo(Answer):
    """An agent that this server knows."""

    name: str
    hash: str
    instructions: str
    model: str | None
    limits: dict[str, JsonValue]
    output_schema: dict[str, JsonValue]
    tools: list[ToolInfo]


class ScheduleRequest(Request):
    """A task that is submitted again and again.

    `cron` has five fields; `timezone` is an IANA name. A moment that was missed while nothing ran is made up for
    once, not once per missed moment.
    """

    id: Name | None = None
    cron: str = Field(max_length=100)
    timezone: str = Field(default="UTC", max_length=64)
    enabled: bool = True
    run: RunRequest


class ScheduleChange(Request):
    """Fields of a schedule to change."""

    cron: str | None = Field(default=None, max_length=100)
    timezone: str | None = Field(default=None, max_length=64)
    enabled: bool | None = None
    run: RunRequest | None = None


class Schedule(Answer):
    """A schedule, and when it fires next."""

    id: str
    cron: str
    timezone: str
    enabled: bool
    run: dict[str, JsonValue]
    next_at: datetime | None = None
    last_at: datetime | None = None
    last_run: str | None = None


class Firing(Answer):
    """One time that a schedule fired: the run it made, or the problem that kept it from making one."""

    at: datetime
    run_id: str | None = None
    problem: str | None = None
    manual: bool = False


class WebhookSecret(Answer):
    """What webhooks are signed with, as Standard Webhooks has it; `previous` signs as well until `previous_until`."""

    secret: str
    previous: str | None = None
    previous_until: datetime | None = None


class DeadLetter(Answer):
    """A webhook that was given up; `id` is the `webhook-id` that every attempt had."""

    id: str
    run_id: str
    url: str
    type: str
    at: datetime
    attempts: int
    error: str


class Health(Answer):
    """Whether the process answers."""

    status: Literal["ok"] = "ok"
    version: str


class Readiness(Answer):
    """Whether runs are accepted, and how many workers were heard of lately."""

    status: Literal["ready"] = "ready"
    durability: str
    redis: str
    workers: int
    slots: int
    busy: int


class FieldProblem(Answer):
    """One thing that is wrong with a request, and where."""

    where: str
    problem: str


class Problem(Answer):
    """RFC 9457 problem details. `type` is stable; `detail` says what is wrong, `remedy` what to do about it.

    `facts` are what `detail` is made of, by name, such as the id of the run that is not there.
    """

    type: str
    title: str
    status: int
    detail: str
    remedy: str = ""
    retryable: bool = False
    errors: list[FieldProblem] = []
    facts: dict[str, JsonValue] = {}
    request_id: str = ""


def build_models() -> None:
    """Build all validators now. The API needs every one; a client builds those that it uses, and starts faster."""
    for kind in tuple(globals().values()):
        if isinstance(kind, type) and issubclass(kind, BaseModel) and kind.model_config.get("defer_build"):
            kind.model_config["defer_build"] = False
            kind.model_rebuild(force=True)
