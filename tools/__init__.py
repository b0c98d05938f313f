"""Tools: typed functions that a model may call, their schemas, and the policy under which they run."""

from .context import MAX_DEPTH, ChildRun, Context
from .decorator import ToolOptions, tool
from .execute import Outcome, execute, reconcile
from .tool import Reconciled, Tool
from .truncate import fit

__all__ = [
    "MAX_DEPTH",
    "ChildRun",
    "Context",
    "Outcome",
    "Reconciled",
    "Tool",
    "ToolOptions",
    "execute",
    "fit",
    "reconcile",
    "tool",
]
