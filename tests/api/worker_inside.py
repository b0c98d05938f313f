"""A worker without Celery inside a test's event loop: the real runner, woken by the API's doorbell and a sweep."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager

from loopwright.inference.endpoint import CompletionRequest, Delta
from loopwright.testing import ScriptedEndpoint, answer
from loopwright.workers.runner import Runner

from .served import Served

SWEEP_S = 0.02


class Parrot(ScriptedEndpoint):
    """A model that repeats what it was asked last, and may be held up."""

    def __init__(self) -> None:
        super().__init__(())
        self.gate = asyncio.Event()
        self.gate.set()

    async def stream(self, request: CompletionRequest) -> AsyncGenerator[Delta, None]:
        """Say `heard: ...` once the gate is open."""
        self.requests.append(request)
        asked = [each.content for each in request.messages if each.role == "user"][-1]
        await self.gate.wait()
        yield Delta(answer(f"heard: {asked}"), finish_reason="stop")


class Bell:
    """Wakes the runner at once."""

    def __init__(self) -> None:
        self.runner: Runner | None = None
        self.tasks: set[asyncio.Task[None]] = set()

    async def ring(self, run_id: str, priority: str = "normal") -> None:
        """Look at the run."""
        self.ring_soon(run_id, priority)

    def ring_soon(self, run_id: str, priority: str = "normal") -> None:
        """Look at the run."""
        assert self.runner is not None
        task = asyncio.create_task(self.runner.wake(run_id))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)


@asynccontextmanager
async def working(api: Served) -> AsyncIterator[Runner]:
    """Drive the API's runs for the length of the block."""
    bell = Bell()
    bell.runner = Runner(api.store, api.service.registry, api.service.settings, bell, name="w1")  # type: ignore[arg-type]
    api.service.doorbell = bell

    async def sweep() -> None:
        while True:
            for run_id in await api.store.journal.due():
                bell.ring_soon(run_id)
            await asyncio.sleep(SWEEP_S)

    sweeping = asyncio.create_task(sweep())
    try:
        yield bell.runner
    finally:
        sweeping.cancel()
        await asyncio.gather(sweeping, return_exceptions=True)
        await bell.runner.drain(1.0)
        await asyncio.gather(*bell.tasks, return_exceptions=True)
        await bell.runner.aclose()
