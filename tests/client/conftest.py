"""Both colours of the client, for tests that hold for either."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from loopwright.client import AsyncClient, Client

Do = Callable[..., Any]


def blocking(url: str, name: str, *args: Any, patience_s: float = 10.0, **more: Any) -> Any:
    """Carry out one method of a blocking client."""
    with Client(url, patience_s=patience_s) as client:
        return getattr(client, name)(*args, **more)


def asynchronous(url: str, name: str, *args: Any, patience_s: float = 10.0, **more: Any) -> Any:
    """Carry out one method of an asynchronous client."""

    async def work() -> Any:
        async with AsyncClient(url, patience_s=patience_s) as client:
            return await getattr(client, name)(*args, **more)

    return asyncio.run(work())


@pytest.fixture(params=[blocking, asynchronous])
def do(request: pytest.FixtureRequest) -> Do:
    """Carry out one method of a client, in both colours."""
    found: Do = request.param
    return found
