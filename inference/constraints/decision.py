"""What a decision of the planner may look like: the value that travels from the planner to an endpoint.

A decision is `{"thought": "...", "calls": [{"tool": "...", "arguments": {...}}, ...]}` or
`{"thought": "...", "answer": ...}`: compact JSON with the keys in this order.
"""

from dataclasses import dataclass

THOUGHT_CHARS = 240
"""Longest thought in characters; bounded because an engine that may go on, does."""

MAX_CALLS = 8
"""Most tool calls in one step."""


@dataclass(frozen=True, slots=True)
class ToolShape:
    """A tool as far as decoding is concerned.

    Attributes:
        name: The tool's name.
        schema: Full JSON Schema of its arguments as canonical JSON text, so that the value is hashable.
    """

    name: str
    schema: str


@dataclass(frozen=True, slots=True)
class DecisionConstraint:
    """The decisions allowed now. Equal constraints share their compiled forms.

    Attributes:
        tools: Tools that may be called; empty when the model must answer.
        answer: Full JSON Schema of the answer as canonical JSON text; `None` when the model must call.
        max_calls: Most calls in one step.
        thought_chars: Longest thought; 0 leaves no room for any.
    """

    tools: tuple[ToolShape, ...]
    answer: str | None
    max_calls: int = MAX_CALLS
    thought_chars: int = THOUGHT_CHARS
