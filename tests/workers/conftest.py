"""A real Redis for the worker tests, empty for each."""

from collections.abc import Iterator

import pytest

from ..servers import RedisServer, redis_server


@pytest.fixture(scope="session")
def worker_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """The system's server, shared by the session."""
    with redis_server("system", tmp_path_factory.mktemp("redis")) as running:
        yield running


@pytest.fixture
def red(worker_server: RedisServer) -> RedisServer:
    """The server, empty."""
    worker_server.command("FLUSHALL")
    return worker_server
