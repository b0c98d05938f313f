"""A decision as the fields of a chat completion request, exactly as Outlines' type adapters would write them."""

import json
from collections.abc import Callable
from copy import deepcopy
from functools import lru_cache
from typing import Any, Literal

from .bounds import bounded_text
from .decision import DecisionConstraint, ToolShape
from .formats import format_node
from .lark import decision_grammar, max_bytes, max_chars
from .patterns import value_regex

__all__ = ["Mode", "max_bytes", "max_chars", "request_fields", "union_schema"]

Mode = Literal["vllm_grammar", "vllm_json", "response_format", "none"]
"""How a server is told: vLLM with a grammar (exact), vLLM with a schema, OpenAI's field, or not at all."""


def request_fields(constraint: DecisionConstraint, mode: Mode) -> dict[str, Any]:
    """Return the fields that a chat completion request needs for this constraint.

    The result is shared between calls: put it into a request, do not change it.

    Raises:
        SchemaRefused: A schema cannot be enforced.
    """
    return _fields(constraint, mode)


def union_schema(constraint: DecisionConstraint) -> dict[str, Any]:
    """Return the JSON Schema of the decision: bounded, everything required that must be there, keys in order."""
    return deepcopy(_union(constraint))


@lru_cache(maxsize=256)
def _fields(constraint: DecisionConstraint, mode: Mode) -> dict[str, Any]:
    return _FIELDS[mode](constraint)


def _response_format(constraint: DecisionConstraint) -> dict[str, Any]:
    named = {"name": "default", "strict": True, "schema": _closed(_union(constraint))}
    return {"response_format": {"type": "json_schema", "json_schema": named}}


def _vllm_grammar(constraint: DecisionConstraint) -> dict[str, Any]:
    return {"structured_outputs": {"grammar": decision_grammar(constraint)}}


def _vllm_json(constraint: DecisionConstraint) -> dict[str, Any]:
    return {"structured_outputs": {"json": _union(constraint)}}


_FIELDS: dict[Mode, Callable[[DecisionConstraint], dict[str, Any]]] = {
    "vllm_grammar": _vllm_grammar,
    "vllm_json": _vllm_json,
    "response_format": _response_format,
    "none": lambda constraint: {},
}


@lru_cache(maxsize=256)
def _union(constraint: DecisionConstraint) -> dict[str, Any]:
    thought = {"type": "string", "maxLength": constraint.thought_chars}
    options = []
    if constraint.tools:
        calls = [_call(tool) for tool in constraint.tools]
        items = calls[0] if len(calls) == 1 else {"anyOf": calls}
        listed = {"type": "array", "items": items, "minItems": 1, "maxItems": constraint.max_calls}
        options.append(_record({"thought": thought, "calls": listed}))
    if constraint.answer is not None:
        options.append(_record({"thought": thought, "answer": _wire(_bounded(constraint.answer))}))
    return options[0] if len(options) == 1 else {"anyOf": options}


def _call(tool: ToolShape) -> dict[str, Any]:
    return _record({"tool": {"const": tool.name, "type": "string"}, "arguments": _wire(_bounded(tool.schema))})


def _bounded(schema: str) -> Any:
    return json.loads(bounded_text(schema))


def _record(properties: dict[str, Any]) -> dict[str, Any]:
    required = list(properties)
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


def _wire(bounded: dict[str, Any]) -> dict[str, Any]:
    """Return the bounded form in keywords that the engines' own JSON compilers know.

    `multipleOf` is kept where it ends the digits of a number that cannot be negative: elsewhere `llguidance` would
    refuse every negative value. Formats become patterns: the engines' own know no calendar.
    """
    wired = {key: _wire_inner(key, value) for key, value in bounded.items()}
    if wired.get("type") == "number" and wired["minimum"] < 0:
        del wired["multipleOf"]
    if "format" in wired:
        return {"type": "string", "pattern": f"^{value_regex(format_node(wired['format']))}$"}
    names = wired.pop("propertyNames", {})
    if "pattern" in names:
        wired["patternProperties"] = {names["pattern"]: wired["additionalProperties"]}
        wired["additionalProperties"] = False
    return wired


def _wire_inner(key: str, value: Any) -> Any:
    if key == "properties":
        return {name: _wire(sub) for name, sub in value.items()}
    if key in ("anyOf", "prefixItems"):
        return [_wire(sub) for sub in value]
    return _wire(value) if key in ("items", "additionalProperties") and isinstance(value, dict) else value


def _closed(schema: Any) -> Any:
    """Return the schema as Outlines sends it to OpenAI: every object closed."""
    if isinstance(schema, list):
        return [_closed(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {key: _closed(value) for key, value in schema.items()}
    if closed.get("type") == "object" and "additionalProperties" not in closed:
        closed["additionalProperties"] = False
    return closed
