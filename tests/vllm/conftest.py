"""A vLLM server for the whole session; skipped where its environment is missing, required in CI."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from loopwright.tests.vllm.checkpoint import make_checkpoint
from loopwright.tests.vllm.server import VllmServer, vllm_server

ROOT = Path(__file__).parents[2]
PYTHON = ROOT / ".venv-vllm" / "bin" / "python"
REQUIRED = bool(os.environ.get("LOOPWRIGHT_REQUIRE_VLLM") or os.environ.get("CI"))


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known."""
    config.addinivalue_line("markers", "vllm: needs a real vLLM server (make vllm-venv)")


@pytest.fixture(scope="session")
def vllm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VllmServer]:
    """Start one server for all tests of the session."""
    if not (PYTHON.parents[1] / ".loopwright-stamp").exists():
        if REQUIRED:
            pytest.fail(
                f"vLLM is required here, but {PYTHON.parents[1]} is missing or unfinished: run `make vllm-venv`"
            )
        pytest.skip("no vLLM environment; `make vllm-venv` makes it")
    checkpoint = make_checkpoint(ROOT / ".cache" / "vllm-tests")
    log = tmp_path_factory.mktemp("vllm") / "server.log"
    with vllm_server(PYTHON, checkpoint, log) as server:
        yield server
