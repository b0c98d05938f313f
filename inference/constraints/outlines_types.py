"""A decision as an Outlines type: what a reader, or `outlines.from_vllm(...)`, uses.

Importing Outlines costs a second of processor time, so nothing here is imported until it is called, and the hot path
(`request.py`) builds the same request fields without it; a test holds the two equal.
"""

from typing import TYPE_CHECKING

from .decision import DecisionConstraint
from .lark import decision_grammar
from .request import union_schema

if TYPE_CHECKING:
    from outlines.types import CFG, JsonSchema


def outlines_type(constraint: DecisionConstraint) -> "CFG":
    """Return the decision as Outlines' grammar type."""
    from outlines.types import CFG

    return CFG(decision_grammar(constraint))


def outlines_json_type(constraint: DecisionConstraint) -> "JsonSchema":
    """Return the decision as Outlines' JSON Schema type, for engines that take no grammars."""
    from outlines.types import JsonSchema

    return JsonSchema(union_schema(constraint), ensure_ascii=False)
