"""The four stores that every journal test runs against: memory, and three real Redis servers."""

import os
import socket
from collections.abc import Iterator

import pytest

from ..servers import KINDS, Kind, RedisServer, ServerMissing, redis_server
from .support import Backend, RedisBackend


def _serve(kind: Kind, factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    try:
        with redis_server(kind, factory.mktemp(kind)) as server:
            yield server
    except ServerMissing as missing:
        if os.environ.get("CI"):
            pytest.fail(f"{kind}: {missing}")
        pytest.skip(f"{kind}: {missing}")


@pytest.fixture(scope="session", params=KINDS)
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A running server of each kind, shared by the session."""
    yield from _serve(request.param, tmp_path_factory)


@pytest.fixture(scope="session")
def one_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """The system's server alone, for tests that gain nothing from three."""
    yield from _serve("system", tmp_path_factory)


@pytest.fixture(scope="session", params=["memory", *KINDS])
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer | None]:
    """What a backend stands on: nothing, or a server of each kind."""
    if request.param == "memory":
        yield None
    else:
        yield from _serve(request.param, tmp_path_factory)


@pytest.fixture
def backend(store: RedisServer | None) -> Backend:
    """An empty store of each kind."""
    if store is None:
        return Backend()
    store.command("FLUSHALL")
    return RedisBackend(store.program.name, store)


@pytest.fixture
def free_port() -> int:
    """A TCP port of this machine that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
