"""Methods made of calls and flows: a rule is written once and offered twice, blocking and awaitable, typed alike.

class Client:
    submit = Method(runs.submit)        # client.submit("desk", "…") -> Run
class AsyncClient:
    submit = AsyncMethod(runs.submit)   # await client.submit("desk", "…") -> Run
"""

import functools
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from typing import Any, Generic, ParamSpec, Protocol, TypeVar, overload

from .call import Call, Flow
from .drivers import Asynchronous, Blocking
from .pages import Listing

P = ParamSpec("P")
T = TypeVar("T")


class HasBlocking(Protocol):
    """Whatever carries flows out on the calling thread."""

    _driver: Blocking


class HasAsynchronous(Protocol):
    """Whatever carries flows out on an event loop."""

    _driver: Asynchronous


class _Bound:
    """Gives a function of the client the name, signature and docstring of its flow."""

    def __init__(self, flow: Callable[..., Any]) -> None:
        self._flow = flow
        self.__doc__ = flow.__doc__

    def _as(self, carry_out: Callable[[Any], Any]) -> Callable[..., Any]:
        @functools.wraps(self._flow)
        def method(*args: Any, **options: Any) -> Any:
            return carry_out(self._flow(*args, **options))

        return method


class Method(_Bound, Generic[P, T]):
    """A blocking method."""

    def __init__(self, flow: Callable[P, Call[T] | Flow[T]]) -> None:
        super().__init__(flow)

    @overload
    def __get__(self, owner: None, kind: type) -> Callable[P, Call[T] | Flow[T]]: ...
    @overload
    def __get__(self, owner: HasBlocking, kind: type) -> Callable[P, T]: ...
    def __get__(self, owner: Any, kind: type) -> Callable[..., Any]:
        return self._flow if owner is None else self._as(owner._driver.carry_out)


class AsyncMethod(_Bound, Generic[P, T]):
    """A method to be awaited."""

    def __init__(self, flow: Callable[P, Call[T] | Flow[T]]) -> None:
        super().__init__(flow)

    @overload
    def __get__(self, owner: None, kind: type) -> Callable[P, Call[T] | Flow[T]]: ...
    @overload
    def __get__(self, owner: HasAsynchronous, kind: type) -> Callable[P, Coroutine[Any, Any, T]]: ...
    def __get__(self, owner: Any, kind: type) -> Callable[..., Any]:
        return self._flow if owner is None else self._as(owner._driver.carry_out)


class ListMethod(_Bound, Generic[P, T]):
    """A method that is looped over; pages are asked for on the way."""

    def __init__(self, listing: Callable[P, Listing[T]]) -> None:
        super().__init__(listing)

    @overload
    def __get__(self, owner: None, kind: type) -> Callable[P, Listing[T]]: ...
    @overload
    def __get__(self, owner: HasBlocking, kind: type) -> Callable[P, Iterator[T]]: ...
    def __get__(self, owner: Any, kind: type) -> Callable[..., Any]:
        return self._flow if owner is None else self._as(owner._driver.items)


class AsyncListMethod(_Bound, Generic[P, T]):
    """A method that is looped over with `async for`."""

    def __init__(self, listing: Callable[P, Listing[T]]) -> None:
        super().__init__(listing)

    @overload
    def __get__(self, owner: None, kind: type) -> Callable[P, Listing[T]]: ...
    @overload
    def __get__(self, owner: HasAsynchronous, kind: type) -> Callable[P, AsyncIterator[T]]: ...
    def __get__(self, owner: Any, kind: type) -> Callable[..., Any]:
        return self._flow if owner is None else self._as(owner._driver.items)
