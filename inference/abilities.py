"""Find out what a server really does with a constraint, because many ignore fields they do not know, and say 200.

Each way of constraining is tried with an answer that no model gives by itself: who says it was constrained.
"""

import json
from collections.abc import Awaitable, Callable
from typing import Any

from ..errors import EndpointRefused, EndpointUnavailable
from .constraints.request import Mode

Ask = Callable[[dict[str, Any]], Awaitable[str]]
"""Sends a short chat completion with these further fields and returns its text."""

FORCED = "qz-7714"
"""The unlikely answer."""

ANSWER_TOKENS = 256
"""Most tokens of one trial; what a server that ignores the constraint may chatter."""

GRAMMAR = (
    f'start: "{FORCED}" value\n'
    f'value: %json {{"enum":[{{"probe":"{FORCED}"}}],"x-guidance":{{"whitespace_flexible":false}}}}'
)
"""Uses the `%json` of llguidance: a backend that reads plain Lark only could not read our grammars either."""

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"probe": {"type": "string", "enum": [FORCED]}},
    "required": ["probe"],
    "additionalProperties": False,
}

TRIALS: dict[Mode, dict[str, Any]] = {
    "vllm_grammar": {"structured_outputs": {"grammar": GRAMMAR}},
    "vllm_json": {"structured_outputs": {"json": SCHEMA}},
    "response_format": {
        "response_format": {"type": "json_schema", "json_schema": {"name": "probe", "strict": True, "schema": SCHEMA}}
    },
}
"""The fields that try each mode."""

ORDER: tuple[Mode, ...] = ("vllm_grammar", "response_format")
"""What `auto` tries, best first. `vllm_json` is not among them: vLLM treats `response_format` alike."""


async def resolve_mode(ask: Ask) -> Mode:
    """Return the best mode that the server honours; `none` when it honours none.

    Raises:
        EndpointError: The server cannot be asked now; nothing is known then.
    """
    for mode in ORDER:
        if await honours(mode, ask):
            return mode
    return "none"


async def honours(mode: Mode, ask: Ask) -> bool:
    """Return whether the server gives the forced answer. A refusal, also as an internal error, is a no."""
    try:
        text = await ask(TRIALS[mode])
    except EndpointRefused:
        return False
    except EndpointUnavailable as error:
        if error.problem.startswith("HTTP 500"):
            return False
        raise
    return is_forced(mode, text)


def is_forced(mode: Mode, text: str) -> bool:
    """Return whether this is the answer that the trial of `mode` forces."""
    if mode == "vllm_grammar":
        if not text.startswith(FORCED):
            return False
        text = text.removeprefix(FORCED)
    try:
        return bool(json.loads(text) == {"probe": FORCED})
    except ValueError:
        return False


def read_names(models: Any) -> list[str]:
    """Return the model names in the answer to `GET /models`."""
    listed = models.get("data", ()) if isinstance(models, dict) else ()
    return [each["id"] for each in listed if isinstance(each, dict) and isinstance(each.get("id"), str)]


def read_window(models: Any, model: str) -> int | None:
    """Return `max_model_len` of a model from the answer to `GET /models`; `None` where it is not told."""
    for entry in models.get("data", ()) if isinstance(models, dict) else ():
        if entry.get("id") == model:
            window = entry.get("max_model_len") or (entry.get("meta") or {}).get("n_ctx_train")
            return window if isinstance(window, int) and window > 0 else None
    return None
