"""What a model may write: the decision's shape, how schemas are bounded for decoding, and the engines that hold it."""

from .decision import MAX_CALLS, THOUGHT_CHARS, DecisionConstraint, ToolShape

__all__ = ["MAX_CALLS", "THOUGHT_CHARS", "DecisionConstraint", "ToolShape"]
