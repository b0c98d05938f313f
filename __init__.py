"""Loopwright: self-hosted tool-using agents as durable jobs.

Names are imported at first use, so that `import loopwright` and the command line start fast.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .agents import Agent, Limits, Memory, Registry, RunContext, load
    from .client import AsyncClient, Client
    from .errors import LoopwrightError, RunIncomplete, ToolError
    from .inference.endpoint import Endpoint
    from .planner.answers import review_call, settle_call
    from .planner.loop import Prices
    from .planner.run import RunResult, resume_run, run_agent
    from .settings import Settings, load_settings
    from .tools import Context, Reconciled, Tool, tool

__version__ = "0.1.0"

_HOME = {
    "Agent": "agents",
    "AsyncClient": "client",
    "Client": "client",
    "Context": "tools",
    "Endpoint": "inference.endpoint",
    "Limits": "agents",
    "LoopwrightError": "errors",
    "Memory": "agents",
    "Prices": "planner.loop",
    "Reconciled": "tools",
    "Registry": "agents",
    "RunContext": "agents",
    "RunIncomplete": "errors",
    "RunResult": "planner.run",
    "Settings": "settings",
    "Tool": "tools",
    "ToolError": "errors",
    "load": "agents",
    "load_settings": "settings",
    "resume_run": "planner.run",
    "run_agent": "planner.run",
    "settle_call": "planner.answers",
    "review_call": "planner.answers",
    "tool": "tools",
}

__all__ = [
    "Agent",
    "AsyncClient",
    "Client",
    "Context",
    "Endpoint",
    "Limits",
    "LoopwrightError",
    "Memory",
    "Prices",
    "Reconciled",
    "Registry",
    "RunContext",
    "RunIncomplete",
    "RunResult",
    "Settings",
    "Tool",
    "ToolError",
    "load",
    "load_settings",
    "resume_run",
    "review_call",
    "run_agent",
    "settle_call",
    "tool",
]


def __getattr__(name: str) -> Any:
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f".{home}", __name__), name)
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
