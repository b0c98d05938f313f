"""Every error of Loopwright, sorted by who can act on it.

    LoopwrightError
    ├── ForModel               the model reads it as an observation and may correct itself
    │   ├── ToolError              raised by a tool's author, message shown to the model
    │   ├── UnknownTool  ArgumentsInvalid  DecisionInvalid
    │   └── ToolTimedOut  ToolCrashed  ResultInvalid  ToolWithdrawn
    ├── ForCaller              the request or the definition is wrong
    │   ├── DefinitionInvalid  SchemaRefused  AgentNotFound  LoadFailed
    │   ├── AgentChanged  RunNotFound  RunExists  TaskInvalid  SettingsInvalid  RunIncomplete  Misuse
    │   ├── IdempotencyConflict  ThreadBusy  ThreadNotFound  ThreadExists
    │   ├── WebhookRefused  ScheduleInvalid  ScheduleNotFound  ScheduleExists
    │   ├── ExtraMissing
    │   ├── Unauthorized  ScopeMissing  RateLimited  KeyNotFound  ApprovalNotFound
    │   ├── ApprovalVoid  EditInvalid  ForkInvalid
    │   ├── ApiRefused
    │   └── RequestError: RequestInvalid  BodyInvalid  BodyTooLarge  BodyTooSlow  MediaTypeUnsupported
    │                     NoSuchRoute  MethodNotAllowed  ArtifactNotFound
    └── ForOperator            a dependency fails or a promise would break
        ├── EndpointError: EndpointUnavailable  EndpointRefused  EndpointTimedOut
        │                  StreamRunaway  ContextTooLong
        ├── JournalError:  JournalUnavailable  StoreFull  Fenced  RunBusy  JournalCorrupt
        ├── ApiFailed: ApiUnavailable  WaitTimedOut
        └── CompileFailed  RedisMissing  ResourcesFailed  PepperMismatch

Each error is a dataclass: its fields are the facts, its `template` the sentence. So every error pickles,
and `to_json`/`from_json` carry it across a queue unchanged.
"""

from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, Literal, cast

Reader = Literal["model", "caller", "operator"]

REGISTRY: dict[str, type["LoopwrightError"]] = {}
"""Every error class by name; filled as the classes are defined, read by `from_json`."""


@dataclass(eq=False)
class LoopwrightError(Exception):
    """Root of all errors. `retryable` says whether the same request may succeed later."""

    template: ClassVar[str] = "unexpected failure"
    reader: ClassVar[Reader] = "operator"
    retryable: ClassVar[bool] = False

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        REGISTRY[cls.__name__] = cls

    @property
    def facts(self) -> dict[str, Any]:
        """The fields as a JSON-compatible mapping."""
        return {each.name: getattr(self, each.name) for each in fields(self)}

    @property
    def code(self) -> str:
        """The class name in snake case: stable, machine-readable, used in journals and REST problems."""
        name = type(self).__name__
        return "".join(f"_{c.lower()}" if c.isupper() else c for c in name).lstrip("_")

    def __str__(self) -> str:
        return self.template.format(**self.facts)

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self).__name__, self.facts)


def to_json(error: LoopwrightError) -> dict[str, Any]:
    """Return `{"error": class name, "facts": {...}}`."""
    return {"error": type(error).__name__, "facts": error.facts}


def from_json(value: dict[str, Any]) -> LoopwrightError:
    """Rebuild an error that `to_json` wrote."""
    return _rebuild(value["error"], value["facts"])


def _rebuild(name: str, facts: dict[str, Any]) -> LoopwrightError:
    return cast(LoopwrightError, cast(Any, REGISTRY[name])(**facts))


# --- for the model -------------------------------------------------------------------------------------------


@dataclass(eq=False)
class ForModel(LoopwrightError):
    """The model made the mistake, or must live with the failure; shown to it as an observation."""

    reader: ClassVar[Reader] = "model"


@dataclass(eq=False)
class ToolError(ForModel):
    """Raise it inside a tool when the model can correct itself: `raise ToolError("no such city: Atlantis")`."""

    template: ClassVar[str] = "{message}"
    message: str


@dataclass(eq=False)
class UnknownTool(ForModel):
    """The decision names a tool that the agent does not have."""

    template: ClassVar[str] = "there is no tool {tool!r}; the tools are: {known}"
    tool: str
    known: str


@dataclass(eq=False)
class ToolWithdrawn(ForModel):
    """The tool exists, but may not be used now."""

    template: ClassVar[str] = "tool {tool!r} may not be used now: {why}"
    tool: str
    why: str


@dataclass(eq=False)
class ArgumentsInvalid(ForModel):
    """The arguments do not satisfy the tool's schema; `problems` names each place and what it expects."""

    template: ClassVar[str] = "invalid arguments for {tool!r}: {problems}"
    tool: str
    problems: str


@dataclass(eq=False)
class DecisionInvalid(ForModel):
    """The model's output is not a decision: cut short, not JSON, or of another shape."""

    template: ClassVar[str] = "your last reply was not a valid step: {problem}"
    problem: str
    output: str = ""


@dataclass(eq=False)
class ToolTimedOut(ForModel):
    """The tool ran longer than its `timeout_s`; for a tool with effects the outcome is unknown."""

    template: ClassVar[str] = "tool {tool!r} did not finish within {timeout_s:g} s"
    tool: str
    timeout_s: float


@dataclass(eq=False)
class ToolCrashed(ForModel):
    """The tool raised an exception that is not a `ToolError`. The exception's text stays in the log."""

    template: ClassVar[str] = "tool {tool!r} failed ({kind})"
    tool: str
    kind: str


@dataclass(eq=False)
class ResultInvalid(ForModel):
    """The tool returned something that is not JSON, or more bytes than are accepted."""

    template: ClassVar[str] = "tool {tool!r} returned an unusable result: {problem}"
    tool: str
    problem: str


# --- for the caller ------------------------------------------------------------------------------------------


@dataclass(eq=False)
class ForCaller(LoopwrightError):
    """The request, definition or setting is wrong; repeating it unchanged cannot help."""

    reader: ClassVar[Reader] = "caller"


@dataclass(eq=False)
class DefinitionInvalid(ForCaller):
    """An agent or tool definition has problems; all of them are listed, one `path: message` each."""

    template: ClassVar[str] = "{what} is not valid:\n  {listed}"
    what: str
    problems: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return self.template.format(what=self.what, listed="\n  ".join(self.problems))


@dataclass(eq=False)
class SchemaRefused(ForCaller):
    """A JSON Schema cannot be enforced; `path` is the place inside it."""

    template: ClassVar[str] = "schema of {what} cannot be enforced at {path}: {problem}"
    what: str
    path: str
    problem: str


@dataclass(eq=False)
class AgentNotFound(ForCaller):
    """No agent of that name is registered."""

    template: ClassVar[str] = "there is no agent {agent!r}; known agents: {known}"
    agent: str
    known: str


@dataclass(eq=False)
class LoadFailed(ForCaller):
    """A file or module with agents could not be loaded."""

    template: ClassVar[str] = "cannot load agents from {source!r}: {problem}"
    source: str
    problem: str


@dataclass(eq=False)
class RunNotFound(ForCaller):
    """No run of that id is known to this tenant."""

    template: ClassVar[str] = "there is no run {run_id!r}"
    run_id: str


@dataclass(eq=False)
class AgentChanged(ForCaller):
    """The run pins the definition it was created with, and the agent of that name is another one now."""

    template: ClassVar[str] = "run {run_id} was created with another definition of agent {agent!r}"
    agent: str
    run_id: str


@dataclass(eq=False)
class RunExists(ForCaller):
    """A run of that id was created before."""

    template: ClassVar[str] = "run {run_id!r} exists already"
    run_id: str


@dataclass(eq=False)
class IdempotencyConflict(ForCaller):
    """The idempotency key was used for another request before; send a new key, or the same request."""

    template: ClassVar[str] = "idempotency key {key!r} was used for another request"
    key: str


@dataclass(eq=False)
class ThreadBusy(ForCaller):
    """Another run of the thread has not ended; wait for it, or ask for `enqueue` or `interrupt`."""

    template: ClassVar[str] = "thread {thread_id!r} has a run that has not ended: {run_id}"
    retryable: ClassVar[bool] = True
    thread_id: str
    run_id: str


@dataclass(eq=False)
class ThreadNotFound(ForCaller):
    """No thread of that id is known to this tenant."""

    template: ClassVar[str] = "there is no thread {thread_id!r}"
    thread_id: str


@dataclass(eq=False)
class ThreadExists(ForCaller):
    """A thread of that id was created before."""

    template: ClassVar[str] = "thread {thread_id!r} exists already"
    thread_id: str


@dataclass(eq=False)
class RunIncomplete(ForCaller):
    """The run ended without an answer, so there is no output to return."""

    template: ClassVar[str] = "run {run_id} ended {status} ({reason}): {detail}"
    run_id: str
    status: str
    reason: str
    detail: str = ""


@dataclass(eq=False)
class TaskInvalid(ForCaller):
    """The task is not text or JSON, or is too large."""

    template: ClassVar[str] = "the task cannot be accepted: {problem}"
    problem: str


@dataclass(eq=False)
class SettingsInvalid(ForCaller):
    """A setting has a value that cannot be used."""

    template: ClassVar[str] = "setting {setting}: {problem}"
    setting: str
    problem: str


@dataclass(eq=False)
class Misuse(ForCaller):
    """The library is used in a way it does not offer."""

    template: ClassVar[str] = "{problem}"
    problem: str


@dataclass(eq=False)
class WebhookRefused(ForCaller):
    """The URL of a webhook leads, or may lead, somewhere that webhooks are never sent to."""

    template: ClassVar[str] = "webhook {url!r} cannot be used: {problem}"
    url: str
    problem: str


@dataclass(eq=False)
class ScheduleInvalid(ForCaller):
    """A schedule cannot fire as it is written; `where` is the field."""

    template: ClassVar[str] = "{where}: {problem}"
    where: str
    problem: str


@dataclass(eq=False)
class ScheduleNotFound(ForCaller):
    """No schedule of that id is known to this tenant."""

    template: ClassVar[str] = "there is no schedule {schedule_id!r}"
    schedule_id: str


@dataclass(eq=False)
class ScheduleExists(ForCaller):
    """A schedule of that id was created before."""

    template: ClassVar[str] = "schedule {schedule_id!r} exists already"
    schedule_id: str


@dataclass(eq=False)
class ExtraMissing(ForCaller):
    """A feature needs packages that are not installed."""

    template: ClassVar[str] = "{feature} needs the extra {extra!r}: pip install 'loopwright[{extra}]'"
    feature: str
    extra: str


@dataclass(eq=False)
class ApiRefused(ForCaller):
    """A server refused a request for a reason that this version has no class for.

    `status` is the HTTP status, `type` the problem's type, `remedy` what the server says to do about it.
    """

    template: ClassVar[str] = "{detail}"
    detail: str
    status: int = 400
    type: str = "about:blank"
    remedy: str = ""


# --- for the operator ----------------------------------------------------------------------------------------


@dataclass(eq=False)
class ForOperator(LoopwrightError):
    """Something that Loopwright depends on fails."""


@dataclass(eq=False)
class EndpointError(ForOperator):
    """A model server could not serve a request."""

    template: ClassVar[str] = "endpoint {endpoint}: {problem}"
    endpoint: str
    problem: str


@dataclass(eq=False)
class EndpointUnavailable(EndpointError):
    """Not reachable, overloaded (429, 503) or failing (5xx), also after the retries."""

    retryable: ClassVar[bool] = True
    retry_after_s: float | None = None


@dataclass(eq=False)
class EndpointRefused(EndpointError):
    """The server answered 4xx: the same request will be refused again."""

    status: int = 400


@dataclass(eq=False)
class EndpointTimedOut(EndpointError):
    """No token arrived in time."""

    retryable: ClassVar[bool] = True


@dataclass(eq=False)
class StreamRunaway(EndpointError):
    """The stream guard cut the model off: whitespace or a repetition without end."""

    retryable: ClassVar[bool] = True
    wasted_tokens: int = 0


@dataclass(eq=False)
class ContextTooLong(EndpointRefused):
    """The prompt does not fit the model's window; never retried unchanged."""

    template: ClassVar[str] = "endpoint {endpoint}: prompt longer than the model's window: {problem}"


@dataclass(eq=False)
class JournalError(ForOperator):
    """The journal could not do what was asked."""

    template: ClassVar[str] = "journal: {problem}"
    problem: str


@dataclass(eq=False)
class JournalUnavailable(JournalError):
    """Redis gave no answer in time. Retry is safe: appends are fenced and de-duplicated."""

    retryable: ClassVar[bool] = True


@dataclass(eq=False)
class StoreFull(JournalError):
    """Redis has next to no memory left, so new runs are refused; running ones go on. Nothing was stored."""

    retryable: ClassVar[bool] = True


@dataclass(eq=False)
class JournalCorrupt(JournalError):
    """A stored event does not validate, or the journal breaks an invariant."""


@dataclass(eq=False)
class Fenced(JournalError):
    """The lease is superseded: another worker owns the run. Drop it without a trace."""

    template: ClassVar[str] = "lease {epoch} of run {run_id} is superseded"
    problem: str = "superseded lease"
    run_id: str = ""
    epoch: int = 0


@dataclass(eq=False)
class RunBusy(JournalError):
    """The run cannot be claimed now: another worker holds a live lease, or it has ended."""

    template: ClassVar[str] = "run {run_id} cannot be claimed: {problem}"
    retryable: ClassVar[bool] = True
    run_id: str = ""


@dataclass(eq=False)
class CompileFailed(ForOperator):
    """A grammar could not be compiled within its limits of time and memory."""

    template: ClassVar[str] = "cannot compile the grammar of {what}: {problem}"
    what: str
    problem: str


@dataclass(eq=False)
class RedisMissing(ForOperator):
    """No Redis server could be found or started."""

    template: ClassVar[str] = "no Redis: {problem}"
    problem: str


@dataclass(eq=False)
class ResourcesFailed(ForOperator):
    """An agent's `resources` could not be opened; the exception's text stays in the log."""

    template: ClassVar[str] = "resources of agent {agent!r} could not be opened ({kind})"
    retryable: ClassVar[bool] = True
    agent: str
    kind: str


# --- requests to the API -------------------------------------------------------------------------------------


@dataclass(eq=False)
class RequestError(ForCaller):
    """An HTTP request that the API does not take."""

    template: ClassVar[str] = "{problem}"
    problem: str


@dataclass(eq=False)
class RequestInvalid(ForCaller):
    """Fields of the body, the query or the path do not validate; `problems` holds one `where: what` each."""

    template: ClassVar[str] = "the request is not valid: {listed}"
    problems: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return self.template.format(listed="; ".join(self.problems))


@dataclass(eq=False)
class BodyInvalid(RequestError):
    """The body is not JSON as we take it: UTF-8, no repeated keys, no NaN, at most 64 levels."""

    template: ClassVar[str] = "the body cannot be read: {problem}"


@dataclass(eq=False)
class BodyTooLarge(RequestError):
    """The body has more bytes than are taken."""

    template: ClassVar[str] = "the body is too large: {problem}"


@dataclass(eq=False)
class BodyTooSlow(RequestError):
    """The body did not arrive in time."""

    template: ClassVar[str] = "the body did not arrive in time: {problem}"
    retryable: ClassVar[bool] = True


@dataclass(eq=False)
class MediaTypeUnsupported(RequestError):
    """The body is compressed, or declared as something other than JSON."""


@dataclass(eq=False)
class NoSuchRoute(ForCaller):
    """There is nothing at this path."""

    template: ClassVar[str] = "there is nothing at {path!r}"
    path: str


@dataclass(eq=False)
class MethodNotAllowed(ForCaller):
    """The path exists, but not for this method; `allowed` lists those that it has."""

    template: ClassVar[str] = "{method} is not allowed here, only {allowed}"
    method: str
    allowed: str


@dataclass(eq=False)
class ArtifactNotFound(ForCaller):
    """The run has no artifact of that id."""

    template: ClassVar[str] = "run {run_id} has no artifact {artifact_id!r}"
    run_id: str
    artifact_id: str


# --- keys and approvals --------------------------------------------------------------------------------------


@dataclass(eq=False)
class Unauthorized(ForCaller):
    """The request carries no API key, or one that is wrong, expired or revoked; which of these is not said."""

    template: ClassVar[str] = "{problem}"
    problem: str


@dataclass(eq=False)
class ScopeMissing(ForCaller):
    """The key is good, but lacks the scope that this needs; make one that has it."""

    template: ClassVar[str] = "this needs a key with the scope {scope!r}; this one has: {granted}"
    scope: str
    granted: str


@dataclass(eq=False)
class RateLimited(ForCaller):
    """More requests than the key's rate allows, or too many wrong keys from one address."""

    template: ClassVar[str] = "{problem}; try again in {retry_after_s:.3g} s"
    retryable: ClassVar[bool] = True
    problem: str
    retry_after_s: float = 1.0


@dataclass(eq=False)
class KeyNotFound(ForCaller):
    """There is no API key of that id."""

    template: ClassVar[str] = "there is no key {key_id!r}"
    key_id: str


@dataclass(eq=False)
class ApprovalNotFound(ForCaller):
    """Nothing of that id waits for a decision: it never did, it was decided, it expired, or its run went on."""

    template: ClassVar[str] = "nothing called {approval_id!r} waits for a decision"
    approval_id: str


@dataclass(eq=False)
class ApprovalVoid(ForCaller):
    """A decision about a call does not hold: it names something else, came too late, or another one was first."""

    template: ClassVar[str] = "the decision about call {call_id} of run {run_id} is void: {problem}"
    run_id: str
    call_id: str
    problem: str


@dataclass(eq=False)
class EditInvalid(ForCaller):
    """The arguments that a person wants a tool to be called with instead break the tool's schema."""

    template: ClassVar[str] = "call {call_id} cannot be made with these arguments: {problems}"
    call_id: str
    problems: str


@dataclass(eq=False)
class ForkInvalid(ForCaller):
    """A run cannot be forked behind this step."""

    template: ClassVar[str] = "run {run_id} cannot be forked behind step {step}: {problem}"
    run_id: str
    step: int
    problem: str


@dataclass(eq=False)
class PepperMismatch(ForOperator):
    """The keys in this Redis were hashed with another pepper than this process has, so it can tell none of them."""

    template: ClassVar[str] = "the API keys in Redis were made with another pepper than the one in {source}: {remedy}"
    source: str
    remedy: str = "give every host the same LOOPWRIGHT_PEPPER, or the same pepper file"


@dataclass(eq=False)
class ApiFailed(ForOperator):
    """A server answered a request with a failure of its own, or with something that is no answer of ours."""

    template: ClassVar[str] = "{detail}"
    detail: str
    status: int = 500
    type: str = "about:blank"
    remedy: str = ""


@dataclass(eq=False)
class ApiUnavailable(ApiFailed):
    """No usable answer came while the client was patient. What has an idempotency key may be sent again."""

    retryable: ClassVar[bool] = True
    status: int = 503
    retry_after_s: float | None = None


@dataclass(eq=False)
class WaitTimedOut(ApiFailed):
    """A run neither ended nor asked for a person within the time one wanted to wait; it goes on."""

    template: ClassVar[str] = "run {run_id} is {run_status} after {timeout_s:g} s; it goes on"
    retryable: ClassVar[bool] = True
    detail: str = ""
    run_id: str = ""
    run_status: str = "running"
    timeout_s: float = 0.0
