"""The type of an agent's answer: its JSON Schema, and the strict reading of an answer."""

import json
from dataclasses import dataclass
from typing import Any

from pydantic.errors import PydanticUserError

from ..tools.schema import refusals, strict_adapter, type_schema
from ..tools.validation import StrictJson


@dataclass(frozen=True, slots=True)
class Output:
    """An answer's type as the planner needs it.

    Attributes:
        schema: Its JSON Schema.
        constraint: The same as canonical JSON text.
        validator: Reads answers.
    """

    schema: dict[str, Any]
    constraint: str
    validator: StrictJson


def read_output(kind: Any, problems: list[str]) -> Output | None:
    """Return what is known about an output type; `None` when it cannot be one, which is added to `problems`."""
    try:
        adapter = strict_adapter(kind)
        schema = type_schema(adapter)
    except PydanticUserError as exc:
        problems.append(f"output_type: {str(exc).splitlines()[0]}")
        return None
    except Exception as exc:  # a type's own hooks may raise anything
        problems.append(f"output_type: it has no JSON Schema: {type(exc).__name__}: {exc}")
        return None
    problems.extend(f"output_type{each}" for each in refusals(schema, "the output type"))
    constraint = json.dumps(schema, ensure_ascii=False, separators=(",", ":"))
    return Output(schema, constraint, StrictJson(adapter))
