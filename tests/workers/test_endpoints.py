"""Models of a worker: shared by the runs that ask them; few stay open beyond that, whatever names callers invent."""

import asyncio
from contextlib import AsyncExitStack
from typing import Any

import pytest

from loopwright import Agent
from loopwright.errors import EndpointError, LoopwrightError, Misuse
from loopwright.settings import Settings
from loopwright.workers import endpoints as endpoints_module
from loopwright.workers.endpoints import Endpoints

from ..memory.support import in_loop

CLERK = Agent("clerk", "Answer.")
SETTINGS = Settings(model_url="http://127.0.0.1:1/v1", model="usual")


@in_loop
async def test_a_thousand_names_of_models_leave_a_few_open() -> None:
    models = Endpoints(SETTINGS)
    for number in range(1000):
        async with models.of(CLERK, f"m{number}") as model:
            assert model.name.startswith(f"m{number}@")
    assert models.open == endpoints_module.KEPT
    await models.aclose()
    assert models.open == 0


@in_loop
async def test_a_model_that_is_asked_stays_open_and_is_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoints_module, "KEPT", 1)
    models = Endpoints(SETTINGS)
    async with models.of(CLERK, None) as usual, AsyncExitStack() as others:
        held: list[Any] = [await others.enter_async_context(models.of(CLERK, f"m{number}")) for number in range(5)]
        async with models.borrow("m3") as again:
            assert again is held[3]
        assert models.open == 6
        await others.aclose()
        assert models.open == 2
        for each in (usual, held[3]):
            with pytest.raises(EndpointError):  # open, but nobody is there
                await asyncio.wait_for(each.connection.exchange("GET", "/models"), 10)
        with pytest.raises(Misuse, match="closed"):
            await held[1].connection.exchange("GET", "/models")
    await models.aclose()


@in_loop
async def test_a_model_that_cannot_be_opened_fails_when_it_is_asked_and_leaves_nothing() -> None:
    models = Endpoints(Settings(model_url=None))
    async with models.of(CLERK, "far away") as model:
        with pytest.raises(EndpointError):
            await anext(model.stream(None))  # type: ignore[arg-type]
    with pytest.raises(LoopwrightError):
        async with models.borrow("far away"):
            pass
    assert models.open == 0
    await models.aclose()
