"""The OpenAPI description, completed: problems, keys, streams, and what FastAPI cannot know of answers."""

from typing import Any

from .examples import EXAMPLES

Operation = dict[str, Any]

DESCRIPTION = (
    "Agents as durable jobs: submit a task, get a run at once, watch it live, cancel, fork and export it. "
    "Errors are problem details (RFC 9457) with a stable `type`."
)
PROBLEM = "#/components/schemas/Problem"
ERRORS = {
    "400": "The request cannot be read, or asks for something that makes no sense.",
    "401": "There is no key where one is needed, or it is wrong, expired or revoked.",
    "403": "The key lacks the scope.",
    "404": "There is no such thing, or it belongs to another tenant.",
    "408": "The body did not arrive in time.",
    "409": "It conflicts with how things stand; `type` says how.",
    "413": "The body has more than 1 MiB.",
    "415": "The body is compressed, or declared as something other than JSON.",
    "422": "A value is not valid; `errors` names each place.",
    "429": "Too many requests; `Retry-After` says when to come back.",
    "503": "The store is away or full; `Retry-After` says when to come back. Nothing was half done.",
}
_LATER = ("429", "503")
_WRITES = ("post", "put", "patch", "delete")
_KEY = {
    "type": "http",
    "scheme": "bearer",
    "description": "`Authorization: Bearer lw_…`, as `loopwright keys create` prints it. "
    "Without any key on the server, programs on the same machine need none.",
}
_STREAM = {
    "schema": {"type": "string"},
    "example": 'id: 1798761600000-0\nevent: run.started\ndata: {"id":"1798761600000-0","type":"run.started",…}\n\n',
}


def described(schema: dict[str, Any]) -> dict[str, Any]:
    """Return FastAPI's description with what all operations have in common."""
    schema["info"]["description"] = DESCRIPTION
    components = schema.setdefault("components", {})
    components["securitySchemes"] = {"key": _KEY}
    for path, methods in schema["paths"].items():
        for method, operation in methods.items():
            _complete(path, method, operation)
    stream = schema["paths"]["/v1/runs/{run_id}/events"]["get"]["responses"]["200"]
    stream["content"]["text/event-stream"] = _STREAM
    for name in ("HTTPValidationError", "ValidationError"):
        components["schemas"].pop(name, None)
    components["schemas"] |= problem_schema()
    for name, examples in EXAMPLES.items():
        components["schemas"][name]["examples"] = examples
    return schema


def problem_schema() -> dict[str, Any]:
    """Return the JSON Schema of a problem and of what it refers to, as components."""
    from .models import Problem

    whole = Problem.model_json_schema(ref_template="#/components/schemas/{model}", mode="serialization")
    return {**whole.pop("$defs", {}), "Problem": whole}


def _complete(path: str, method: str, operation: Operation) -> None:
    needs_key = path.startswith("/v1/") or path == "/metrics"
    if needs_key:
        operation["security"] = [{"key": []}] if path.startswith("/v1/") else [{"key": []}, {}]
    for parameter in operation.get("parameters", ()):
        _without_null(parameter)
    responses = operation["responses"]
    for status in _statuses(path, method, operation, needs_key):
        responses[status] = _problem(status)
    for status in ("201", "202"):
        if status in responses:
            about = {"schema": {"type": "string"}, "description": "Path of what was made."}
            responses[status].setdefault("headers", {})["Location"] = about


def _without_null(parameter: dict[str, Any]) -> None:
    """Say what a parameter may be when it is there; null is how Python spells that it is not."""
    schema = parameter["schema"]
    choices = [each for each in schema.pop("anyOf", ()) if each.get("type") != "null"]
    if len(choices) == 1:
        schema.update(choices[0])
    elif choices:
        schema["anyOf"] = choices


def _statuses(path: str, method: str, operation: Operation, needs_key: bool) -> list[str]:
    """Return the statuses of problems that an operation can answer with."""
    found = ["503"]
    if needs_key:
        found += ["401", "403", "429"]
    if operation.get("parameters") or "requestBody" in operation:
        found += ["400", "404", "422"]
    if "requestBody" in operation:
        found += ["408", "413", "415"]
    if method in _WRITES:
        found.append("409")
    return sorted(found)


def _problem(status: str) -> dict[str, Any]:
    answer: dict[str, Any] = {
        "description": ERRORS[status],
        "content": {"application/problem+json": {"schema": {"$ref": PROBLEM}}},
    }
    if status in _LATER:
        about = {"schema": {"type": "integer", "minimum": 1}, "description": "Seconds."}
        answer["headers"] = {"Retry-After": about}
    return answer
