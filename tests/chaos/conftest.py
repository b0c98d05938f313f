"""Worlds to attack. `LOOPWRIGHT_CHAOS=full` runs every test at the size of the specification."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from .processes import Nursery
from .world import World, open_world

Make = Callable[..., World]


@pytest.fixture(scope="session")
def nursery(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nursery]:
    """What forks workers and API."""
    with Nursery(tmp_path_factory.mktemp("nursery")) as found:
        yield found


@pytest.fixture
def make_world(nursery: Nursery, tmp_path: Path) -> Iterator[Make]:
    """Return a maker of worlds that end with the test."""
    with ExitStack() as stack:

        def make(name: str = "world", **how: object) -> World:
            return stack.enter_context(open_world(tmp_path / name, nursery, **how))  # type: ignore[arg-type]

        yield make
