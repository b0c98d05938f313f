"""The shapes of a decision's parts, read once from the full schemas of its constraint."""

import json
from functools import lru_cache

from ...errors import Misuse
from .bounds import bounded_text
from .decision import DecisionConstraint
from .shapes import Shape, shape_of


@lru_cache(maxsize=1024)
def schema_shape(schema: str) -> Shape:
    """Return the shape that decoding follows for a full schema.

    Raises:
        SchemaRefused: The schema cannot be enforced.
    """
    return shape_of(json.loads(bounded_text(schema)))


@lru_cache(maxsize=1024)
def decision_shapes(constraint: DecisionConstraint) -> tuple[tuple[tuple[str, Shape], ...], Shape | None]:
    """Return name and arguments of each tool, and the answer, which is `None` when the model must call.

    Raises:
        Misuse: The constraint allows neither a call nor an answer.
        SchemaRefused: A schema cannot be enforced.
    """
    if not constraint.tools and constraint.answer is None:
        raise Misuse("a decision must allow a tool call or an answer")
    tools = tuple((tool.name, schema_shape(tool.schema)) for tool in constraint.tools)
    return tools, None if constraint.answer is None else schema_shape(constraint.answer)
