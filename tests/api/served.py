"""The API over real HTTP on loopback, in the test's own event loop, on a real Redis."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import uvicorn

from loopwright import Agent
from loopwright.agents import Registry
from loopwright.api.app import Api
from loopwright.api.service import Service
from loopwright.memory.store import Store, open_store
from loopwright.settings import Settings

from ..servers import RedisServer

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
    bell: Bell = field(default_factory=Bell)

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
        config = uvicorn.Config(
            Api(service), port=0, log_level="error", proxy_headers=False, lifespan="off", access_log=False
        )
        host = uvicorn.Server(config)
        task = asyncio.create_task(host.serve())
        while not host.started:
            if task.done():
                task.result()
            await asyncio.sleep(0.005)
        port = host.servers[0].sockets[0].getsockname()[1]
        url = f"http://127.0.0.1:{port}"
        async with httpx2.AsyncClient(base_url=url, timeout=20) as http:
            try:
                yield Served(url, http, service, bell)
            finally:
                host.should_exit = True
                await asyncio.wait_for(task, STOP_S)
