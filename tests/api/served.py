"""The API over real HTTP on loopback, in the test's own event loop, on a real Redis."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2

from loopwright import Agent
from loopwright.agents import Registry
from loopwright.api.app import Api
from loopwright.api.server import ApiServer, bound_socket, url_of
from loopwright.api.service import Service
from loopwright.memory.store import Store, open_store
from loopwright.planner.run import resume_run
from loopwright.planner.state import RunState
from loopwright.settings import Settings
from loopwright.testing import Reply, ScriptedEndpoint

from ..servers import RedisServer
from .sse import EventClient

STOP_S = 10.0


class Bell:
    """A doorbell that remembers who was rung for."""

    def __init__(self) -> None:
        self.rung: list[tuple[str, str]] = []

    async def ring(self, run_id: str, priority: str = "normal") -> None:
        """Note the ring."""
        self.rung.append((run_id, priority))


@dataclass
class Served:
    """A running API."""

    url: str
    http: httpx2.AsyncClient
    service: Service
    app: Api
    bell: Bell = field(default_factory=Bell)
    opened: list[EventClient] = field(default_factory=list)

    async def submit(self, agent: str = "clerk", task: Any = "hello", **more: Any) -> str:
        """Submit a task and return the run's id."""
        answer = await self.http.post("/v1/runs", json={"agent": agent, "task": task, **more})
        assert answer.status_code == 202, answer.text
        return str(answer.json()["id"])

    async def events(self, run_id: str, query: str = "", **options: Any) -> EventClient:
        """Open a stream of events; it is closed with the server."""
        client = await EventClient.open(self.url, f"/v1/runs/{run_id}/events{query}", **options)
        self.opened.append(client)
        return client

    async def drive(self, run_id: str, *replies: Reply, **hooks: Any) -> RunState:
        """Do what a worker would, with a model that says these replies."""
        record = await self.store.journal.record(run_id)
        agent = self.service.registry.get(record.agent)
        journal = self.store.journal
        result = await resume_run(agent, run_id, journal=journal, endpoint=ScriptedEndpoint(replies), **hooks)
        return result.state

    @property
    def store(self) -> Store:
        """What the service keeps."""
        return self.service.store

    async def key(self, *scopes: str, tenant: str = "local", **options: Any) -> dict[str, str]:
        """Make a key and return the header that shows it; from now on keys are asked for."""
        _, token = await self.store.keys.create(tenant, scopes, **options)
        return bearer(token)


def bearer(token: str) -> dict[str, str]:
    """Return the header that shows a key."""
    return {"authorization": f"Bearer {token}"}


@contextlib.asynccontextmanager
async def served(
    server: RedisServer, tmp_path: Path, agents: Iterable[Agent[Any]] = (), **options: Any
) -> AsyncIterator[Served]:
    """Serve the API of an empty Redis for the length of the block."""
    server.command("FLUSHALL")
    settings = Settings(redis_url=server.url, data_dir=str(tmp_path / "data"), **options)
    async with open_store(settings) as store:
        bell = Bell()
        service = Service(settings, Registry(agents), store, bell)
        api = Api(service)
        with bound_socket("127.0.0.1", 0, is_open=False) as sock:
            ready = asyncio.Event()
            host = ApiServer(api, sock, grace_s=STOP_S, on_ready=ready.set)
            task = asyncio.create_task(host.run_until_told())
            await asyncio.wait([task, asyncio.create_task(ready.wait())], return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                task.result()
            url = url_of(sock)
            async with httpx2.AsyncClient(base_url=url, timeout=httpx2.Timeout(20, pool=None)) as http:
                found = Served(url, http, service, api, bell)
                try:
                    yield found
                finally:
                    host.stop()
                    await asyncio.wait_for(task, STOP_S)
                    for client in found.opened:
                        await client.close()
