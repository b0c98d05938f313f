"""`loopwright.Client`: everything that a server offers, for code that waits."""

from collections.abc import Iterator
from typing import Any, Self, cast

from ..api.models import RunEvent
from . import approvals, runs, schedules, server, threads
from .drivers import Blocking
from .following import Following, Live
from .methods import ListMethod, Method
from .transport import Address
from .trouble import Patience


class _Group:
    """Methods that share a noun."""

    def __init__(self, driver: Blocking) -> None:
        self._driver = driver


class Approvals(_Group):
    """Calls that wait for a person."""

    list = ListMethod(approvals.pending)
    approve = Method(approvals.approve)
    edit = Method(approvals.edit)
    reject = Method(approvals.reject)
    settle = Method(approvals.settle)


class Threads(_Group):
    """Conversations."""

    create = Method(threads.create)
    list = ListMethod(threads.listed)
    get = Method(threads.get)
    messages = ListMethod(threads.messages)
    delete = Method(threads.delete)


class Schedules(_Group):
    """Tasks that are submitted again and again."""

    create = Method(schedules.create)
    list = ListMethod(schedules.listed)
    get = Method(schedules.get)
    change = Method(schedules.change)
    trigger = Method(schedules.trigger)
    history = ListMethod(schedules.history)
    delete = Method(schedules.delete)


class Agents(_Group):
    """Agents that the server knows."""

    list = ListMethod(server.agents)
    get = Method(server.agent)


class Webhooks(_Group):
    """What is told of runs, and how receivers know that it is us."""

    secret = Method(server.webhook_secret)
    rotate = Method(server.rotate_webhook_secret)
    dead_letters = ListMethod(server.dead_letters)


class Client:
    """A server's runs, and all that belongs to them. Threads may share one; close it, or use it as a context manager.

    Args:
        url: The server; `None`: the variable LOOPWRIGHT_URL, else `http://127.0.0.1:8300`.
        key: API key; `None`: the variable LOOPWRIGHT_KEY, else none. It appears in no repr, error or log.
        patience_s: How long a call goes on trying when the server is away, overloaded or restarted; 0: not at all.
        timeout_s: Longest wait for one answer.

    Raises:
        SettingsInvalid: The URL or the key cannot be used.
    """

    submit = Method(runs.submit)
    run = Method(runs.run)
    wait = Method(runs.wait)
    wait_all = Method(runs.wait_all)
    get = Method(runs.get)
    list = ListMethod(runs.listed)
    journal = ListMethod(runs.journal)
    cancel = Method(runs.cancel)
    fork = Method(runs.fork)
    export = Method(runs.export)
    batch = Method(runs.batch)
    health = Method(server.health)
    ready = Method(server.ready)

    def __init__(
        self, url: str | None = None, key: str | None = None, *, patience_s: float = 30.0, timeout_s: float = 30.0
    ) -> None:
        self._driver = Blocking(Address(url, key, timeout_s), Patience(patience_s))
        self.approvals = Approvals(self._driver)
        self.threads = Threads(self._driver)
        self.schedules = Schedules(self._driver)
        self.agents = Agents(self._driver)
        self.webhooks = Webhooks(self._driver)

    def __repr__(self) -> str:
        return f"Client({self._driver.address!r})"

    @property
    def url(self) -> str:
        """The server's URL."""
        return str(self._driver.address.url)

    def events(self, run_id: str, *, after: str = "") -> Iterator[RunEvent]:
        """Yield the events of a run, those so far and each new one, until it has ended: every one exactly once.

        A cut connection or a restarted server is bridged: the stream goes on behind the last event that was seen.

        Args:
            run_id: The run.
            after: Id of the event behind which to begin; empty: at the first.

        Raises:
            RunNotFound: There is no such run.
            ApiUnavailable: The server was away for longer than the client is patient.
        """
        return cast(Iterator[RunEvent], self._follow(run_id, after, live=False))

    def stream(self, run_id: str, *, after: str = "") -> Iterator[RunEvent | Live]:
        """Yield what `events` yields and, in between, what the model writes while it writes it; see `Live`."""
        return self._follow(run_id, after, live=True)

    def _follow(self, run_id: str, after: str, live: bool) -> Iterator[RunEvent | Live]:
        return self._driver.follow(Following(run_id, after, live, self._driver.patience))

    def close(self) -> None:
        """Close all connections."""
        self._driver.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()
