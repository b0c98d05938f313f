"""Carry flows out: `Blocking` on the calling thread, `Asynchronous` on the running event loop.

Everything that has to be said twice, because one colour waits and the other awaits, is in this file.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Generator, Iterator
from contextlib import aclosing
from typing import Any, TypeVar

import httpx2

from ..api.models import RunEvent
from ..errors import LoopwrightError, Misuse
from .call import Call, Flow, Lost, Pause, Reply
from .exchange import Send, exchange
from .following import SILENCE_S, Following, Live
from .pages import Listing
from .transport import LOST, Address, reply_of
from .trouble import Patience

T = TypeVar("T")
CUT = Lost("the stream of events was cut")


class Blocking:
    """Carries flows out on the thread that calls; threads may share it.

    Args:
        address: The server.
        patience: How long to go on trying.
        transport: Takes the place of the network in tests.
        sleep: Waits between two tries.
    """

    def __init__(
        self,
        address: Address,
        patience: Patience,
        transport: httpx2.BaseTransport | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.address = address
        self.patience = patience
        self._sleep = sleep
        self._client = httpx2.Client(transport=transport, **address.options())

    def carry_out(self, wanted: Call[T] | Flow[T]) -> T:
        """Return what the call answers or the flow returns, or raise what it raises."""
        return self._call(wanted) if isinstance(wanted, Call) else _drive(wanted, self._step)

    def items(self, listing: Listing[T]) -> Iterator[T]:
        """Yield a list, page after page."""
        cursor: str | None = None
        while True:
            page = self._call(listing.page(cursor))
            yield from page.items
            if not page.next:
                return
            cursor = page.next

    def follow(self, following: Following) -> Iterator[RunEvent | Live]:
        """Yield what happens in a run until it is over."""
        while not following.is_over:
            outcome: Reply | Lost = CUT
            try:
                response = self._open(following)
                try:
                    if response.status_code != 200:
                        response.read()
                        outcome = reply_of(response)
                    else:
                        following.opened()
                        yield from _wanted(following, httpx2.EventSource(response))
                        self.carry_out(following.closed())
                finally:
                    response.close()
            except LOST as error:
                outcome = self.address.lost(error)
            except ValueError:
                outcome = CUT
            if not following.is_over:
                self._sleep(following.pause(outcome))

    def close(self) -> None:
        """Close all connections."""
        self._client.close()

    def _open(self, following: Following) -> httpx2.Response:
        _check_open(self._client, self.address)
        call, headers = following.call()
        return self._client.send(self.address.request(call, headers, silence_s=SILENCE_S), stream=True)

    def _step(self, step: Call[Any] | Pause) -> Any:
        return self._sleep(step.seconds) if isinstance(step, Pause) else self._call(step)

    def _call(self, call: Call[T]) -> T:
        return _drive(exchange(call, self.patience), self._move)

    def _move(self, move: Send | Pause) -> Reply | Lost | None:
        if isinstance(move, Pause):
            self._sleep(move.seconds)
            return None
        _check_open(self._client, self.address)
        try:
            return reply_of(self._client.send(self.address.request(move.call)))
        except LOST as error:
            return self.address.lost(error)


class Asynchronous:
    """Carries flows out on one event loop; tasks may share it. Arguments as for `Blocking`."""

    def __init__(
        self,
        address: Address,
        patience: Patience,
        transport: httpx2.AsyncBaseTransport | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.address = address
        self.patience = patience
        self._sleep = sleep
        self._client = httpx2.AsyncClient(transport=transport, **address.options())

    async def carry_out(self, wanted: Call[T] | Flow[T]) -> T:
        """Return what the call answers or the flow returns, or raise what it raises."""
        return await (self._call(wanted) if isinstance(wanted, Call) else _drive_async(wanted, self._step))

    async def items(self, listing: Listing[T]) -> AsyncIterator[T]:
        """Yield a list, page after page."""
        cursor: str | None = None
        while True:
            page = await self._call(listing.page(cursor))
            for item in page.items:
                yield item
            if not page.next:
                return
            cursor = page.next

    async def follow(self, following: Following) -> AsyncIterator[RunEvent | Live]:
        """Yield what happens in a run until it is over."""
        while not following.is_over:
            outcome: Reply | Lost = CUT
            try:
                response = await self._open(following)
                try:
                    if response.status_code != 200:
                        await response.aread()
                        outcome = reply_of(response)
                    else:
                        following.opened()
                        async with aclosing(_wanted_async(following, httpx2.EventSource(response))) as wanted:
                            async for item in wanted:
                                yield item
                        await self.carry_out(following.closed())
                finally:
                    await response.aclose()
            except LOST as error:
                outcome = self.address.lost(error)
            except ValueError:
                outcome = CUT
            if not following.is_over:
                await self._sleep(following.pause(outcome))

    async def aclose(self) -> None:
        """Close all connections."""
        await self._client.aclose()

    async def _open(self, following: Following) -> httpx2.Response:
        _check_open(self._client, self.address)
        call, headers = following.call()
        return await self._client.send(self.address.request(call, headers, silence_s=SILENCE_S), stream=True)

    async def _step(self, step: Call[Any] | Pause) -> Any:
        return await (self._sleep(step.seconds) if isinstance(step, Pause) else self._call(step))

    async def _call(self, call: Call[T]) -> T:
        return await _drive_async(exchange(call, self.patience), self._move)

    async def _move(self, move: Send | Pause) -> Reply | Lost | None:
        if isinstance(move, Pause):
            await self._sleep(move.seconds)
            return None
        _check_open(self._client, self.address)
        try:
            return reply_of(await self._client.send(self.address.request(move.call)))
        except LOST as error:
            return self.address.lost(error)


def _drive(steps: Generator[Any, Any, T], do: Callable[[Any], Any]) -> T:
    """Do what a generator yields, tell it what came of it, and return what it returns."""
    outcome: Any = None
    failure: LoopwrightError | None = None
    while True:
        try:
            step = steps.throw(failure) if failure else steps.send(outcome)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]
        outcome = failure = None
        try:
            outcome = do(step)
        except LoopwrightError as error:
            failure = error


async def _drive_async(steps: Generator[Any, Any, T], do: Callable[[Any], Awaitable[Any]]) -> T:
    """Do as `_drive` does."""
    outcome: Any = None
    failure: LoopwrightError | None = None
    while True:
        try:
            step = steps.throw(failure) if failure else steps.send(outcome)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]
        outcome = failure = None
        try:
            outcome = await do(step)
        except LoopwrightError as error:
            failure = error


def _wanted(following: Following, source: httpx2.EventSource) -> Iterator[RunEvent | Live]:
    for arrived in source:
        item = following.take(arrived.event, arrived.data)
        if item is not None:
            yield item
        if following.is_over:
            return


async def _wanted_async(following: Following, source: httpx2.EventSource) -> AsyncGenerator[RunEvent | Live]:
    async for arrived in source:
        item = following.take(arrived.event, arrived.data)
        if item is not None:
            yield item
        if following.is_over:
            return


def _check_open(client: httpx2.Client | httpx2.AsyncClient, address: Address) -> None:
    if client.is_closed:
        raise Misuse(f"the client of {address.url} is closed")
