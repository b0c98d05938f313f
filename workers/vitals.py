"""What a worker says of itself, for `Presence` and so for people."""

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..agents.registry import Registry


def vitals(
    registry: "Registry", *, queues: Sequence[str], slots: int, busy: int, started_ms: int, is_draining: bool
) -> dict[str, Any]:
    """Return the fields of a `memory.presence.Worker` for this process."""
    from .. import __version__

    return {
        "host": os.uname().nodename,
        "pid": os.getpid(),
        "slots": slots,
        "busy": busy,
        "agents": {agent.name: agent.hash for agent in registry.agents},
        "queues": list(queues),
        "version": __version__,
        "started_ms": started_ms,
        "is_draining": is_draining,
    }
