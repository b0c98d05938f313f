"""Fixtures and rules of the whole suite."""

import os
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Run every test without the developer's own settings."""
    for name in [name for name in os.environ if name.startswith("LOOPWRIGHT_") and "_TEST_" not in name]:
        if name != "LOOPWRIGHT_REQUIRE_VLLM":
            monkeypatch.delenv(name)
    yield
