"""Errors as RFC 9457 problem details: one table from error class to status, title and remedy.

`type` is `urn:loopwright:problem:` and the error's code, so clients may branch on it; `detail` is the error's own
sentence. What went wrong inside is never shown: an unexpected exception is logged and answered by its request id.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from .. import errors as er
from ..tools.validation import place
from .models import FieldProblem, Problem

MEDIA_TYPE = "application/problem+json"
TYPE_PREFIX = "urn:loopwright:problem:"
RETRY_AFTER_S = 2
"""What `Retry-After` says when the error itself does not know better, in seconds."""

MAX_FIELD_PROBLEMS = 20
"""Most places listed of one invalid request."""


class Kind(NamedTuple):
    """How one class of errors is answered; subclasses inherit it."""

    status: int
    title: str
    remedy: str = ""


_INTERNAL = Kind(500, "Internal error", "Quote request_id to whoever runs this server; its log has the rest.")

KINDS: dict[str, Kind] = {
    "LoopwrightError": _INTERNAL,
    "SettingsInvalid": _INTERNAL,
    "LoadFailed": _INTERNAL,
    "DefinitionInvalid": _INTERNAL,
    "ExtraMissing": _INTERNAL,
    "ForCaller": Kind(400, "The request cannot be served", "Change the request; repeating it unchanged cannot help."),
    "ForModel": Kind(422, "The value is not valid", "Correct the value that detail names."),
    "AgentNotFound": Kind(404, "No such agent", "GET /v1/agents lists the agents of this server."),
    "RunNotFound": Kind(404, "No such run", "Check the id; a run is seen by keys of its own tenant only."),
    "ArtifactNotFound": Kind(404, "No such artifact", "The run's events name its artifacts."),
    "TaskInvalid": Kind(
        422, "The task cannot be accepted", "Send text that is not blank, or a JSON value, up to 1 MiB."
    ),
    "RequestInvalid": Kind(
        422, "The request is not valid", "Correct what errors names; GET /openapi.json has the schema."
    ),
    "BodyInvalid": Kind(
        400, "The body cannot be read", "Send one JSON value in UTF-8, without repeated keys, NaN or deep nesting."
    ),
    "BodyTooLarge": Kind(413, "The body is too large", "Send at most 1 MiB; long material belongs into a tool."),
    "BodyTooSlow": Kind(408, "The body took too long", "Send the whole body at once."),
    "MediaTypeUnsupported": Kind(
        415, "The media type is not supported", "Send application/json without Content-Encoding."
    ),
    "NoSuchRoute": Kind(404, "No such route", "GET /openapi.json lists the routes."),
    "MethodNotAllowed": Kind(
        405, "The method is not allowed here", "The Allow header names the methods of this route."
    ),
    "AgentChanged": Kind(409, "The agent has changed", "Fork the run to go on with the present definition."),
    "RunExists": Kind(409, "The run exists already", "Leave the id to the server."),
    "RunIncomplete": Kind(409, "The run has no answer", "Read its events for what happened."),
    "IdempotencyConflict": Kind(
        409, "The idempotency key is taken", "Use a new key for a new request, or send the same body again."
    ),
    "ThreadBusy": Kind(409, "The thread is busy", "Wait for its run to end, or send overlap: enqueue or interrupt."),
    "ThreadNotFound": Kind(404, "No such thread", "Check the id; a thread is seen by keys of its own tenant only."),
    "ThreadExists": Kind(409, "The thread exists already", "Use another id, or leave it to the server."),
    "ScheduleNotFound": Kind(404, "No such schedule", "GET /v1/schedules lists the schedules."),
    "ScheduleExists": Kind(409, "The schedule exists already", "Use another id, or change the one that is there."),
    "ScheduleInvalid": Kind(422, "The schedule cannot fire", "Correct the field that detail names."),
    "WebhookRefused": Kind(422, "The webhook cannot be used", "Name a public http(s) URL that receives POSTs."),
    "RunBusy": Kind(409, "The run is busy", "Try again when its worker has let go of it."),
    "Unauthorized": Kind(
        401, "A valid API key is needed", "Send Authorization: Bearer and a key that is neither expired nor revoked."
    ),
    "ScopeMissing": Kind(403, "The key lacks a scope", "Use a key with the scope that detail names."),
    "RateLimited": Kind(429, "Too many requests", "Wait for the seconds in Retry-After."),
    "KeyNotFound": Kind(404, "No such key", "`loopwright keys list` lists the keys."),
    "ApprovalNotFound": Kind(404, "No such approval", "GET /v1/approvals lists what waits for a decision."),
    "ApprovalVoid": Kind(409, "Decision void", "Get the approval again and decide about what it asks now."),
    "ForkInvalid": Kind(409, "Fork impossible", "Fork behind a step whose calls all have results; its events tell."),
    "EditInvalid": Kind(422, "Arguments invalid", "Correct the arguments; GET /v1/agents has the tool's schema."),
    "PepperMismatch": Kind(
        503, "Keys cannot be checked", "Whoever runs this server must give each host the same LOOPWRIGHT_PEPPER."
    ),
    "ForOperator": _INTERNAL,
    "JournalUnavailable": Kind(503, "The store is away", "Send the same request again, with the same Idempotency-Key."),
    "StoreFull": Kind(503, "The store is full", "Try again later; finished runs leave the store after a while."),
}
"""By class name; an error has the kind of its nearest ancestor here."""


def kind_of(error: er.LoopwrightError) -> Kind:
    """Return how an error is answered."""
    return next(KINDS[each.__name__] for each in type(error).__mro__ if each.__name__ in KINDS)


def problem_of(error: er.LoopwrightError, request_id: str = "") -> Problem:
    """Return an error as a problem. Details of internal errors stay inside."""
    kind = kind_of(error)
    is_internal = kind.status == 500
    return Problem(
        type=TYPE_PREFIX + ("internal_error" if is_internal else error.code),
        title=kind.title,
        status=kind.status,
        detail="something went wrong inside of the server" if is_internal else str(error),
        remedy=kind.remedy,
        retryable=error.retryable and not is_internal,
        errors=[] if is_internal else _fields_of(error),
        facts={} if is_internal else error.facts,
        request_id=request_id,
    )


def headers_of(error: er.LoopwrightError) -> dict[str, str]:
    """Return the headers that an error's answer carries: `Retry-After`, `WWW-Authenticate`, `Allow`."""
    status = kind_of(error).status
    headers = {"cache-control": "no-store"}
    if status == 401:
        headers["www-authenticate"] = "Bearer"
    if isinstance(error, er.MethodNotAllowed):
        headers["allow"] = error.allowed
    if status in (429, 503):
        after = getattr(error, "retry_after_s", None)
        headers["retry-after"] = str(max(1, math.ceil(after)) if after else RETRY_AFTER_S)
    return headers


def request_invalid(found: Sequence[Any]) -> er.RequestInvalid:
    """Return what FastAPI's or pydantic's validation found as one error."""
    listed = [_field_problem(each) for each in found[:MAX_FIELD_PROBLEMS]]
    return er.RequestInvalid([f"{each.where}: {each.problem}" for each in listed])


def _fields_of(error: er.LoopwrightError) -> list[FieldProblem]:
    """Return the places that an error names: each of its `problems` is one `where: what`."""
    problems = getattr(error, "problems", ())
    if not isinstance(problems, list):
        return []
    parts = (each.partition(": ") for each in problems)
    return [FieldProblem(where=where if text else "", problem=text or where) for where, _, text in parts]


def _field_problem(found: Mapping[str, Any]) -> FieldProblem:
    where = place(tuple(found["loc"]))
    kind = found["type"]
    if kind == "missing":
        return FieldProblem(where=where, problem="is missing")
    if kind == "extra_forbidden":
        return FieldProblem(where=where, problem="is not a known field")
    message = str(found["msg"]).replace("Input should be", "should be").removeprefix("Value error, ")
    return FieldProblem(where=where, problem=message)
