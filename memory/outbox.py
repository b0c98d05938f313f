"""What is to be told to webhooks: written by the transition that made it true, taken out by any dispatcher.

Keys of shard NN (the tenant's, as everywhere in the journal):

| key                     | type   | holds                                                          | lives          |
|-------------------------|--------|----------------------------------------------------------------|----------------|
| {sNN}:outbox            | stream | new events: run tenant status reason url at; written by WRITE  | until taken    |
| {sNN}:hooks             | zset   | run id -> millisecond at which its first delivery is due       | until settled  |
| {sNN}:hook:<run>        | list   | the run's deliveries as JSON, oldest first                     | until settled  |
| {sNN}:hook:<run>:gone   | string | the receiver answered 410: nothing more is sent for this run   | 30 days        |
| {sNN}:hooks:dead:<tenant> | list | deliveries that were given up, newest first, at most 1,000     | until trimmed  |

There is no leader: `take` moves new events to their runs' lists and hands out the first delivery of each run that is
due, hidden from others for `hold_s`. Whoever took it settles it; when it dies instead, the delivery is due again
after the hold. Only the first of a run is ever out, which keeps the order. An id is made once, from the stream's.
"""

from dataclasses import asdict, dataclass, replace
from typing import Any

import pydantic_core
from redis.asyncio import Redis
from redis.exceptions import NoScriptError, RedisError

from .client import run_script, translated
from .journal.ids import SHARDS, shard_of_tenant
from .journal.scripts import Script
from .webhook_secrets import WebhookSecrets

HOLD_S = 60.0
"""Seconds for which a delivery that was taken is hidden from others: three times what one attempt may take."""

DEAD_LETTERS = 1_000
GONE_MS = 30 * 86_400_000
_ABSORB = 200
"""New events of one shard that one call moves."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """One event on its way to one receiver.

    Attributes:
        id: The same at every attempt, so that the receiver can drop what it has seen.
        run: Run that the event is about.
        tenant: Whose run it is.
        status: The run's status that is told.
        reason: Why it has that status; "" where there is no reason.
        url: The receiver.
        at: When it happened, in milliseconds since 1970.
        attempts: How often it was sent in vain.
        body: What is sent; "" before the first attempt.
        error: Why the last attempt failed.
    """

    id: str
    run: str
    tenant: str
    status: str
    reason: str
    url: str
    at: int
    attempts: int = 0
    body: str = ""
    error: str = ""


TAKE = Script(
    "take",
    """
-- KEYS outbox, hooks. ARGV ms to hide, how many to take, how many to move. -> deliveries as JSON.
local tag = string.match(KEYS[1], '^{s%d%d}:')
local now = now_ms()
for _, entry in ipairs(redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', ARGV[3])) do
  local had = {}
  for index = 1, #entry[2], 2 do had[entry[2][index]] = entry[2][index + 1] end
  local key = tag .. 'hook:' .. had.run
  if redis.call('EXISTS', key .. ':gone') == 0 then
    redis.call('RPUSH', key, cjson.encode({id = 'msg_' .. had.run .. '_' .. entry[1], run = had.run,
      tenant = had.tenant, status = had.status, reason = had.reason or '', url = had.url, at = tonumber(had.at)}))
    redis.call('ZADD', KEYS[2], 'NX', digits(now), had.run)
  end
  redis.call('XDEL', KEYS[1], entry[1])
end
local found = {}
for _, run in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', digits(now), 'LIMIT', 0, ARGV[2])) do
  local first = redis.call('LINDEX', tag .. 'hook:' .. run, 0)
  if first then
    redis.call('ZADD', KEYS[2], digits(now + ARGV[1]), run)
    found[#found + 1] = first
  else
    redis.call('ZREM', KEYS[2], run)
  end
end
return found
""",
)

SETTLE = Script(
    "settle",
    """
-- KEYS hooks, deliveries of the run, dead. ARGV run, id, attempts, what became of it, the delivery as it is now,
-- ms until the next attempt, dead letters to keep, ms to remember a receiver that is gone.
-- Nothing happens when the first delivery is another one, or was tried since: somebody else had it.
local first = redis.call('LINDEX', KEYS[2], 0)
if not first then return 'settled' end
local had = cjson.decode(first)
if had.id ~= ARGV[2] or (had.attempts or 0) ~= tonumber(ARGV[3]) then return 'settled' end
if ARGV[4] == 'later' then
  redis.call('LSET', KEYS[2], 0, ARGV[5])
  redis.call('ZADD', KEYS[1], 'XX', digits(now_ms() + ARGV[6]), ARGV[1])
  return 'later'
end
redis.call('LPOP', KEYS[2])
if ARGV[4] == 'dead' or ARGV[4] == 'gone' then
  redis.call('LPUSH', KEYS[3], ARGV[5])
  redis.call('LTRIM', KEYS[3], 0, ARGV[7] - 1)
end
if ARGV[4] == 'gone' then
  redis.call('SET', KEYS[2] .. ':gone', '1', 'PX', ARGV[8])
  redis.call('DEL', KEYS[2])
end
if redis.call('EXISTS', KEYS[2]) == 1 then
  redis.call('ZADD', KEYS[1], 'XX', digits(now_ms()), ARGV[1])
else
  redis.call('ZREM', KEYS[1], ARGV[1])
end
return ARGV[4]
""",
)


class Outbox:
    """Deliveries of webhooks, at least once each, in order within a run.

    Args:
        client: Client of the side stores.
        hold_s: Seconds for which a delivery that was taken is hidden from others.
    """

    def __init__(self, client: Redis, *, hold_s: float = HOLD_S) -> None:
        self._client = client
        self._hold_ms = int(hold_s * 1000)
        self.hold_s = hold_s
        self.secrets = WebhookSecrets(client)

    async def take(self, limit: int) -> list[Delivery]:
        """Take deliveries that are due, at most `limit` of each shard and one of each run.

        Each must be settled: `sent`, `postpone`, `retry`, `bury` or `disable`. What is not is due again after the hold.

        Raises:
            JournalUnavailable: Redis gave no answer. What it may have handed out is due again after the hold.
        """
        async with translated():
            replies = await self._ask_shards(limit)
            if any(isinstance(reply, NoScriptError) for reply in replies):
                await self._client.script_load(TAKE.text)
                replies = await self._ask_shards(limit)
            found = [_delivery(raw) for reply in replies if isinstance(reply, list) for raw in reply]
            for reply in replies:
                if isinstance(reply, RedisError) and not found:
                    raise reply
        return found

    async def sent(self, delivery: Delivery) -> None:
        """The receiver has it: go on with the next of the run."""
        await self._settle(delivery, "sent", delivery)

    async def postpone(self, delivery: Delivery, delay_s: float) -> None:
        """It was not tried, and is due again after a while."""
        await self._settle(delivery, "later", delivery, delay_s)

    async def retry(self, delivery: Delivery, delay_s: float, *, body: str, error: str) -> None:
        """It was tried in vain: try the same body again after a while."""
        later = replace(delivery, attempts=delivery.attempts + 1, body=body, error=error)
        await self._settle(delivery, "later", later, delay_s)

    async def bury(self, delivery: Delivery, *, body: str, error: str) -> None:
        """Give it up: it becomes a dead letter, and the next of the run has its turn."""
        dead = replace(delivery, attempts=delivery.attempts + 1, body=body, error=error)
        await self._settle(delivery, "dead", dead)

    async def disable(self, delivery: Delivery, *, body: str, error: str) -> None:
        """The receiver wants no more: it becomes a dead letter, and nothing else is sent for this run."""
        dead = replace(delivery, attempts=delivery.attempts + 1, body=body, error=error)
        await self._settle(delivery, "gone", dead)

    async def dead_letters(self, tenant: str, limit: int = 100) -> list[Delivery]:
        """Return what was given up, newest first."""
        async with translated():
            return [_delivery(raw) for raw in await self._client.lrange(_dead_key(tenant), 0, max(1, limit) - 1)]

    async def backlog(self, tenant: str) -> int:
        """Return how many runs of the tenant's shard have something to tell, and new events; 0 means all is settled."""
        tag = _tag(tenant)
        async with translated(), self._client.pipeline(transaction=True) as pipe:
            pipe.zcard(f"{tag}hooks")
            pipe.xlen(f"{tag}outbox")
            return sum(await pipe.execute())

    async def _ask_shards(self, limit: int) -> list[Any]:
        async with self._client.pipeline(transaction=False) as pipe:
            for shard in range(SHARDS):
                tag = f"{{s{shard:02d}}}:"
                pipe.evalsha(TAKE.sha, 2, f"{tag}outbox", f"{tag}hooks", self._hold_ms, limit, _ABSORB)
            return await pipe.execute(raise_on_error=False)

    async def _settle(self, had: Delivery, how: str, now: Delivery, delay_s: float = 0.0) -> None:
        tag = _tag(had.tenant)
        keys = (f"{tag}hooks", f"{tag}hook:{had.run}", _dead_key(had.tenant))
        entry = pydantic_core.to_json(asdict(now))
        delay_ms = max(0, int(delay_s * 1000))
        given = (had.run, had.id, had.attempts, how, entry, delay_ms, DEAD_LETTERS, GONE_MS)
        await run_script(self._client, SETTLE, keys, *given)


def _tag(tenant: str) -> str:
    return f"{{s{shard_of_tenant(tenant):02d}}}:"


def _dead_key(tenant: str) -> str:
    return f"{_tag(tenant)}hooks:dead:{tenant}"


def _delivery(raw: bytes | str) -> Delivery:
    return Delivery(**pydantic_core.from_json(raw))
