"""Everything about a run in one JSON file, put together from bytes that are JSON already."""

from pydantic_core import to_json

from ..agents.registry import Registry
from ..errors import AgentNotFound
from ..memory.journal.contract import Snapshot
from ..planner.state import fold
from .agent_info import agent_info
from .models import AgentInfo, Run
from .views import event_json


def exported(snapshot: Snapshot, run: Run, registry: Registry) -> bytes:
    """Return a run as a `RunExport`."""
    state = fold(each.event for each in snapshot.events)
    agent = _definition(registry, run)
    parts = {
        "format": b'"loopwright.run/1"',
        "run": run.__pydantic_serializer__.to_json(run),
        "agent": b"null" if agent is None else agent.__pydantic_serializer__.to_json(agent),
        "messages": to_json([{"role": each.role, "content": each.content} for each in state.messages]),
        "events": b"[" + b",".join(event_json(each) for each in snapshot.events) + b"]",
        "artifacts": to_json(dict(snapshot.artifacts)),
    }
    return b"{" + b",".join(b'"' + name.encode() + b'":' + value for name, value in parts.items()) + b"}"


def _definition(registry: Registry, run: Run) -> AgentInfo | None:
    """Return the agent of a run, where it still has the definition that the run pins."""
    try:
        agent = registry.get(run.agent)
    except AgentNotFound:
        return None
    return agent_info(agent) if agent.hash == run.agent_hash else None
