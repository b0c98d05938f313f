"""Send webhooks: signed as Standard Webhooks says, to checked addresses, again and again until they are taken.

Every worker runs one dispatcher; the outbox (`memory.outbox`) sees to it that a delivery is out with one of them at a
time. Only a 2xx answer counts; redirects are failures; 410 ends what is sent for that run. A slow receiver keeps a few
slots busy and no more: each receiver and each tenant has a share.

Source: https://www.standardwebhooks.com (headers, signature, schedule of retries).
"""

import asyncio
import random
import socket
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pydantic_core
import structlog
from standardwebhooks import Webhook

from ..errors import ForOperator, JournalCorrupt, LoopwrightError, RunNotFound, WebhookRefused
from ..memory.outbox import Delivery, Outbox
from ..planner.events import RunCreated
from .receivers import check_receiver_addresses, check_webhook_url

if TYPE_CHECKING:
    from ..memory.journal.contract import Journal
    from ..memory.store import Store
    from ..settings import Settings
    from ..tools.builtin.http_guard import Target
    from ..tools.builtin.http_pin import Connect, Resolve

_log = structlog.get_logger(__name__)

DELAYS_S: tuple[float, ...] = (5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400)
"""Seconds between the ten attempts: 76 hours in all, before jitter of a tenth either way."""

TIMEOUT_S = 20.0
"""Seconds that one attempt may take, all addresses together."""

POLL_S = 1.0
MAX_BODY_BYTES = 20_000
MAX_AT_ONCE = 512
"""Deliveries in hand, those that wait for a slot of their receiver included."""

MAX_PER_TENANT = 128
MAX_PER_RECEIVER = 32
SENDING_PER_RECEIVER = 8
_PER_SHARD = 8
_RESOLVERS = 8


async def run_webhooks(store: "Store", settings: "Settings", stop: asyncio.Event) -> None:
    """Send what is due until `stop` is set; then finish what is in hand, for a few seconds at most.

    Whatever happens to the process, nothing is lost: what it had in hand is due again for others after a minute.
    """
    threads = ThreadPoolExecutor(_RESOLVERS, thread_name_prefix="webhook-dns")
    try:
        dispatcher = Dispatcher(store.outbox, store.journal, settings, resolve=_resolver(threads))
        await dispatcher.run(stop)
    finally:
        threads.shutdown(wait=False, cancel_futures=True)  # a slow name must not hold up what else the loop does


def _resolver(threads: ThreadPoolExecutor) -> "Resolve":
    """Return a resolver with threads of its own, so that slow names do not hold up tools that use threads."""

    async def resolve(host: str, port: int) -> list[str]:
        loop = asyncio.get_running_loop()
        answers = await loop.run_in_executor(threads, lambda: socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        return [str(answer[4][0]) for answer in answers]

    return resolve


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one attempt: the receiver's status, 0 when there was none, and why it counts as a failure."""

    status: int
    problem: str = ""


class Dispatcher:
    """Takes deliveries out of the outbox and sends them.

    Args:
        outbox: Where they come from.
        journal: Tells what a delivery says about its run.
        settings: Which receivers need not be public.
        delays_s: Seconds between attempts; one attempt more than there are delays.
        timeout_s: Seconds that one attempt may take.
        poll_s: Seconds between two looks into an outbox that was empty.
        resolve: Looks names up; the system's resolver when left out.
        connect: Opens transports; a plain one without proxies when left out.
    """

    def __init__(
        self,
        outbox: Outbox,
        journal: "Journal",
        settings: "Settings",
        *,
        delays_s: Sequence[float] = DELAYS_S,
        timeout_s: float = TIMEOUT_S,
        poll_s: float = POLL_S,
        resolve: "Resolve | None" = None,
        connect: "Connect | None" = None,
    ) -> None:
        from ..tools.builtin.http_pin import plain_transport, resolve_host

        self._outbox = outbox
        self._journal = journal
        self._settings = settings
        self._delays_s = tuple(delays_s)
        self._timeout_s = timeout_s
        self._poll_s = poll_s
        self._resolve = resolve or resolve_host
        self._connect = connect or plain_transport
        self._in_hand: Counter[str] = Counter()
        self._slots: dict[str, asyncio.Semaphore] = {}

    async def run(self, stop: asyncio.Event) -> None:
        """Take and send until `stop` is set."""
        tasks: set[asyncio.Task[None]] = set()
        try:
            while not stop.is_set():
                took = await self._round(tasks)
                if not took:
                    with suppress(TimeoutError):
                        await asyncio.wait_for(stop.wait(), self._poll_s * random.uniform(0.75, 1.25))
            if tasks:
                await asyncio.wait(tasks, timeout=min(5.0, self._settings.grace_s / 2))
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _round(self, tasks: set[asyncio.Task[None]]) -> bool:
        """Take what is due and start sending it; return whether there may be more."""
        if len(tasks) >= MAX_AT_ONCE:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            return True
        try:
            taken = await self._outbox.take(_PER_SHARD)
        except LoopwrightError as exc:
            _log.warning("webhook_outbox_unavailable", problem=str(exc))
            return False
        for delivery in taken:
            task = asyncio.create_task(self._handle(delivery), name=f"webhook {delivery.id}")
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        return bool(taken)

    async def _handle(self, delivery: Delivery) -> None:
        """Send one delivery, unless its tenant or receiver has its share of this process already."""
        tenant, receiver = f"tenant {delivery.tenant}", f"receiver {_origin(delivery.url)}"
        try:
            if self._in_hand[tenant] >= MAX_PER_TENANT or self._in_hand[receiver] >= MAX_PER_RECEIVER:
                await self._outbox.postpone(delivery, random.uniform(0.5, 2.0))
                return
            self._in_hand.update((tenant, receiver))
            try:
                await self._in_turn(delivery, receiver)
            finally:
                self._in_hand.subtract((tenant, receiver))
                if not self._in_hand[receiver]:
                    self._slots.pop(receiver, None)
                self._in_hand += Counter()  # drops the zeros
        except ForOperator as exc:
            _log.warning("webhook_left_for_later", id=delivery.id, problem=str(exc))

    async def _in_turn(self, delivery: Delivery, receiver: str) -> None:
        """Send when the receiver has a slot free, unless that takes so long that others may have it by then."""
        slots = self._slots.setdefault(receiver, asyncio.Semaphore(SENDING_PER_RECEIVER))
        try:
            async with asyncio.timeout(max(0.0, self._outbox.hold_s / 2 - self._timeout_s / 2)):
                await slots.acquire()
        except TimeoutError:
            await self._outbox.postpone(delivery, random.uniform(0.5, 2.0))
            return
        try:
            await self._deliver(delivery)
        finally:
            slots.release()

    async def _deliver(self, delivery: Delivery) -> None:
        body = delivery.body or await body_of(delivery, self._journal)
        try:
            target = check_webhook_url(delivery.url, self._settings)
        except WebhookRefused as exc:
            await self._outbox.bury(delivery, body=body, error=exc.problem)
            return
        headers = await self._headers(delivery, body)
        try:
            async with asyncio.timeout(self._timeout_s):
                outcome = await self._attempt(target, headers, body.encode())
        except TimeoutError:
            outcome = Outcome(0, f"no answer within {self._timeout_s:g} s")
        except Exception as exc:  # whatever it is, it counts as an attempt, so that it cannot come back for ever
            _log.exception("webhook_crashed", id=delivery.id)
            outcome = Outcome(0, f"failed ({type(exc).__name__})")
        await self._settle(delivery, outcome, body)

    async def _settle(self, delivery: Delivery, outcome: Outcome, body: str) -> None:
        facts = {"id": delivery.id, "run_id": delivery.run, "attempt": delivery.attempts + 1, "status": outcome.status}
        if 200 <= outcome.status < 300:
            _log.info("webhook_sent", **facts)
            await self._outbox.sent(delivery)
            return
        _log.info("webhook_failed", **facts, problem=outcome.problem)
        if outcome.status == 410:
            await self._outbox.disable(delivery, body=body, error=outcome.problem)
        elif delivery.attempts >= len(self._delays_s):
            await self._outbox.bury(delivery, body=body, error=outcome.problem)
        else:
            delay_s = self._delays_s[delivery.attempts] * random.uniform(0.9, 1.1)
            await self._outbox.retry(delivery, delay_s, body=body, error=outcome.problem)

    async def _attempt(self, target: "Target", headers: dict[str, str], content: bytes) -> Outcome:
        """Look the receiver up, check every address, send to the first that takes connections."""
        import httpx2

        from ..tools.builtin.http_pin import MAX_ADDRESSES

        try:
            answers = await self._resolve(target.host, target.port)
            addresses = check_receiver_addresses(target, answers, self._settings)
        except WebhookRefused as exc:
            return Outcome(0, exc.problem)
        except (OSError, UnicodeError):
            return Outcome(0, f"host {target.host} cannot be found")
        for address in addresses[:MAX_ADDRESSES]:
            try:
                status = await self._post(target, address, headers, content)
            except (httpx2.ConnectError, httpx2.ConnectTimeout):
                continue
            except httpx2.HTTPError as exc:
                return Outcome(0, f"{target.host} gave no usable answer ({type(exc).__name__})")
            return Outcome(status, f"answered with status {status}")
        return Outcome(0, f"{target.host} cannot be reached")

    async def _post(self, target: "Target", address: str, headers: dict[str, str], content: bytes) -> int:
        """Send to one address and return the status; what else is answered is not read."""
        from ..tools.builtin.http_pin import pinned_request

        request = pinned_request("POST", target, address, headers, content=content, read_s=self._timeout_s)
        async with await asyncio.to_thread(self._connect) as transport:
            response = await transport.handle_async_request(request)
            await response.aclose()
        return response.status_code

    async def _headers(self, delivery: Delivery, body: str) -> dict[str, str]:
        """Sign: the moment is that of the attempt, so that a receiver may refuse old ones."""
        secrets = await self._outbox.secrets.get(delivery.tenant)
        now = datetime.now(UTC)
        signatures = (Webhook(secret).sign(delivery.id, now, body) for secret in secrets.all)
        return {
            "Content-Type": "application/json",
            "webhook-id": delivery.id,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": " ".join(signatures),
        }


async def body_of(delivery: Delivery, journal: "Journal") -> str:
    """Return what is told: ids, status and the caller's own metadata; the answer itself is to be fetched.

    Metadata that would make it larger than `MAX_BODY_BYTES` are left out, as null.
    """
    created = await _created(delivery.run, journal)
    data: dict[str, Any] = {
        "id": delivery.run,
        "agent": created.agent if created else None,
        "status": delivery.status,
        "reason": delivery.reason or None,
        "thread_id": created.thread_id if created else None,
        "metadata": dict(created.metadata) if created else None,
    }
    at = datetime.fromtimestamp(delivery.at / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    told = {"type": f"run.{delivery.status}", "timestamp": at, "data": data}
    body = pydantic_core.to_json(told)
    if len(body) > MAX_BODY_BYTES:
        data["metadata"] = None
        body = pydantic_core.to_json(told)
    return body.decode()


async def _created(run_id: str, journal: "Journal") -> RunCreated | None:
    with suppress(RunNotFound, JournalCorrupt):
        for stored in await journal.read(run_id, limit=1):
            if isinstance(stored.event, RunCreated):
                return stored.event
    return None


def _origin(url: str) -> str:
    """Return scheme, host and port of a URL as written: what counts as one receiver."""
    return "/".join(url.split("/", 3)[:3]).lower()
