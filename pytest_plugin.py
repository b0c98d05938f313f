"""Pytest fixtures for people who test their agents; active wherever Loopwright is installed."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .testing import RandomEndpoint, Reply, ScriptedEndpoint


@pytest.fixture
def scripted_model() -> "Callable[..., ScriptedEndpoint]":
    """Return a maker of scripted endpoints: `scripted_model(call("lookup", key="a"), answer("b"))`."""
    from .testing import ScriptedEndpoint

    def make(*replies: "Reply", chunk_chars: int = 0) -> "ScriptedEndpoint":
        return ScriptedEndpoint(replies, chunk_chars=chunk_chars)

    return make


@pytest.fixture
def random_model() -> "Callable[..., RandomEndpoint]":
    """Return a maker of endpoints that obey the schema with random valid values: `random_model(seed=7)`."""
    from .testing import RandomEndpoint

    def make(seed: int = 0) -> "RandomEndpoint":
        return RandomEndpoint(seed)

    return make
