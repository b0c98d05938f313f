"""`loopwright.AsyncClient`: everything that a server offers, for code on an event loop."""

from collections.abc import AsyncIterator
from typing import Any, Self, cast

from ..api.models import RunEvent
from . import approvals, runs, schedules, server, threads
from .drivers import Asynchronous
from .following import Following, Live
from .methods import AsyncListMethod, AsyncMethod
from .transport import Address
from .trouble import Patience


class _Group:
    """Methods that share a noun."""

    def __init__(self, driver: Asynchronous) -> None:
        self._driver = driver


class Approvals(_Group):
    """Calls that wait for a person."""

    list = AsyncListMethod(approvals.pending)
    approve = AsyncMethod(approvals.approve)
    edit = AsyncMethod(approvals.edit)
    reject = AsyncMethod(approvals.reject)
    settle = AsyncMethod(approvals.settle)


class Threads(_Group):
    """Conversations."""

    create = AsyncMethod(threads.create)
    list = AsyncListMethod(threads.listed)
    get = AsyncMethod(threads.get)
    messages = AsyncListMethod(threads.messages)
    delete = AsyncMethod(threads.delete)


class Schedules(_Group):
    """Tasks that are submitted again and again."""

    create = AsyncMethod(schedules.create)
    list = AsyncListMethod(schedules.listed)
    get = AsyncMethod(schedules.get)
    change = AsyncMethod(schedules.change)
    trigger = AsyncMethod(schedules.trigger)
    history = AsyncListMethod(schedules.history)
    delete = AsyncMethod(schedules.delete)


class Agents(_Group):
    """Agents that the server knows."""

    list = AsyncListMethod(server.agents)
    get = AsyncMethod(server.agent)


class Webhooks(_Group):
    """What is told of runs, and how receivers know that it is us."""

    secret = AsyncMethod(server.webhook_secret)
    rotate = AsyncMethod(server.rotate_webhook_secret)
    dead_letters = AsyncListMethod(server.dead_letters)


class AsyncClient:
    """A server's runs, and all that belongs to them. Used on one event loop; close it, or use `async with`.

    Args:
        url: The server; `None`: the variable LOOPWRIGHT_URL, else `http://127.0.0.1:8300`.
        key: API key; `None`: the variable LOOPWRIGHT_KEY, else none. It appears in no repr, error or log.
        patience_s: How long a call goes on trying when the server is away, overloaded or restarted; 0: not at all.
        timeout_s: Longest wait for one answer.

    Raises:
        SettingsInvalid: The URL or the key cannot be used.
    """

    submit = AsyncMethod(runs.submit)
    run = AsyncMethod(runs.run)
    wait = AsyncMethod(runs.wait)
    wait_all = AsyncMethod(runs.wait_all)
    get = AsyncMethod(runs.get)
    list = AsyncListMethod(runs.listed)
    journal = AsyncListMethod(runs.journal)
    cancel = AsyncMethod(runs.cancel)
    fork = AsyncMethod(runs.fork)
    export = AsyncMethod(runs.export)
    batch = AsyncMethod(runs.batch)
    health = AsyncMethod(server.health)
    ready = AsyncMethod(server.ready)

    def __init__(
        self, url: str | None = None, key: str | None = None, *, patience_s: float = 30.0, timeout_s: float = 30.0
    ) -> None:
        self._driver = Asynchronous(Address(url, key, timeout_s), Patience(patience_s))
        self.approvals = Approvals(self._driver)
        self.threads = Threads(self._driver)
        self.schedules = Schedules(self._driver)
        self.agents = Agents(self._driver)
        self.webhooks = Webhooks(self._driver)

    def __repr__(self) -> str:
        return f"AsyncClient({self._driver.address!r})"

    @property
    def url(self) -> str:
        """The server's URL."""
        return str(self._driver.address.url)

    def events(self, run_id: str, *, after: str = "") -> AsyncIterator[RunEvent]:
        """Yield the events of a run, those so far and each new one, until it has ended: every one exactly once.

        A cut connection or a restarted server is bridged: the stream goes on behind the last event that was seen.

        Args:
            run_id: The run.
            after: Id of the event behind which to begin; empty: at the first.

        Raises:
            RunNotFound: There is no such run.
            ApiUnavailable: The server was away for longer than the client is patient.
        """
        return cast(AsyncIterator[RunEvent], self._follow(run_id, after, live=False))

    def stream(self, run_id: str, *, after: str = "") -> AsyncIterator[RunEvent | Live]:
        """Yield what `events` yields and, in between, what the model writes while it writes it; see `Live`."""
        return self._follow(run_id, after, live=True)

    def _follow(self, run_id: str, after: str, live: bool) -> AsyncIterator[RunEvent | Live]:
        return self._driver.follow(Following(run_id, after, live, self._driver.patience))

    async def aclose(self) -> None:
        """Close all connections."""
        await self._driver.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: Any) -> None:
        await self.aclose()
