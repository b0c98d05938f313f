"""What every route is handed: the parts of the service, made once per process."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from ..agents.registry import Registry
from ..settings import Settings

if TYPE_CHECKING:
    from ..memory.store import Store


class Doorbell(Protocol):
    """Wakes workers."""

    async def ring(self, run_id: str, priority: str = "normal") -> None:
        """Ask some worker to look at a run. Never raises: a lost ring costs one sweep, not a run."""
        ...


def wall_ms() -> int:
    """Return milliseconds since 1970."""
    return time.time_ns() // 1_000_000


@dataclass(slots=True)
class Service:
    """The parts of the service.

    Attributes:
        settings: How this process is set up.
        registry: The agents that runs may name.
        store: Everything that is kept: journal, threads, keys, schedules and so on.
        doorbell: Wakes workers.
        now_ms: The clock.
    """

    settings: Settings
    registry: Registry
    store: "Store"
    doorbell: Doorbell
    now_ms: Callable[[], int] = wall_ms
