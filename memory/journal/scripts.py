"""The transitions of the Redis journal: short Lua scripts, each atomic, each safe to send twice.

Keys of shard NN (00 to 63, the hash of the tenant; it stands in every run id):

| key                  | type   | holds                                                     | lives       |
|----------------------|--------|-----------------------------------------------------------|-------------|
| {sNN}:run:<id>       | hash   | tenant agent agent_hash status reason step epoch token    | retention   |
|                      |        | seq lease_end cancel created updated                      |             |
| {sNN}:run:<id>:j     | stream | the journal: one entry per event, its JSON in field `e`   | retention   |
| {sNN}:run:<id>:a     | hash   | artifact id -> text                                       | retention   |
| {sNN}:due            | zset   | run id -> millisecond at which somebody must look         | until final |
| {sNN}:runs:<tenant>  | zset   | run id -> created                                         | retention   |

Moments are milliseconds since 1970 by the server's clock. `token` is random, drawn with every claim; `seq` counts
the batches written under one lease, so a batch that is sent again after a lost answer is recognised, and a server
that lost batches is noticed. Scripts derive the keys of a run from the shard's tag in KEYS[1]: all of them live in
one slot. Replies hold codes, never text of users.
"""

import hashlib
from dataclasses import dataclass
from functools import cached_property

_PRELUDE = """
local final = {succeeded = true, failed = true, cancelled = true, expired = true}
local function digits(number) return string.format('%.0f', number) end
local function now_ms()
  local t = redis.call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000)
end
"""


@dataclass(frozen=True)
class Script:
    """A Lua script and the SHA-1 by which the server knows it."""

    name: str
    body: str

    @property
    def text(self) -> str:
        """What the server is given."""
        return _PRELUDE + self.body

    @cached_property
    def sha(self) -> str:
        """The server's name for the script."""
        return hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest()


CREATE = Script(
    "create",
    """
-- KEYS run, journal, due, runs. ARGV nonce, id, tenant, agent, agent hash, event, runs to probe for retention.
-- The nonce stands as token until the first claim: it tells a repeated create from another run of the same id.
local had = redis.call('HMGET', KEYS[1], 'epoch', 'token')
if had[1] then
  if had[1] == '0' and had[2] == ARGV[1] then return 'created' end
  return 'exists'
end
local now = digits(now_ms())
redis.call('XADD', KEYS[2], '*', 'e', ARGV[6])
redis.call('HSET', KEYS[1], 'tenant', ARGV[3], 'agent', ARGV[4], 'agent_hash', ARGV[5], 'status', 'queued',
  'step', '0', 'epoch', '0', 'token', ARGV[1], 'seq', '0', 'lease_end', '0', 'created', now, 'updated', now)
redis.call('ZADD', KEYS[3], now, ARGV[2])
if tonumber(ARGV[7]) > 0 then
  -- Names of runs that retention removed leave the list a few at a time.
  local tag = string.match(KEYS[3], '^{s%d%d}:')
  for _, id in ipairs(redis.call('ZRANDMEMBER', KEYS[4], ARGV[7])) do
    if redis.call('EXISTS', tag .. 'run:' .. id) == 0 then redis.call('ZREM', KEYS[4], id) end
  end
end
redis.call('ZADD', KEYS[4], now, ARGV[2])
return 'created'
""",
)

CLAIM = Script(
    "claim",
    """
-- KEYS run, journal, due. ARGV id, token, ttl ms, the event before and behind its epoch.
-- -> [code, epoch, cancel, events]; the code is `claimed`, `missing`, `busy` or the final status.
local had = redis.call('HMGET', KEYS[1], 'status', 'epoch', 'token', 'lease_end', 'cancel')
if not had[1] then return {'missing'} end
if final[had[1]] then return {had[1]} end
local now = now_ms()
local epoch = had[2]
if had[3] ~= ARGV[2] then
  if tonumber(had[4]) > now then return {'busy'} end
  epoch = digits(had[2] + 1)
  local lease_end = digits(now + ARGV[3])
  redis.call('XADD', KEYS[2], '*', 'e', ARGV[4] .. epoch .. ARGV[5])
  redis.call('HSET', KEYS[1], 'epoch', epoch, 'token', ARGV[2], 'seq', '0', 'lease_end', lease_end,
    'updated', digits(now), 'status', had[1] == 'queued' and 'running' or had[1])
  redis.call('ZADD', KEYS[3], lease_end, ARGV[1])
end
return {'claimed', epoch, had[5], redis.call('XRANGE', KEYS[2], '-', '+')}
""",
)

WRITE = Script(
    "write",
    """
-- Append, renew and touch, for many runs of one shard. KEYS due. ARGV retention ms (0 keeps), records, artifacts.
-- A record is a line of head (see `match` below) and one line per event; artifacts are (id, text) in the same order.
-- -> one line per record: '!' superseded, or '.' and the reason of a requested cancellation.
local tag = string.match(KEYS[1], '^{s%d%d}:')
local now = now_ms()
local text, at, piece = ARGV[2], 1, 3
local function line()
  local stop = string.find(text, '\\n', at, true)
  local part = string.sub(text, at, stop - 1)
  at = stop + 1
  return part
end
local answers = {}
while at <= #text do
  local id, epoch, token, seq, ttl, events, artifacts, step, status, reason =
    string.match(line(), '^(%S+) (%S+) (%S+) (%S+) (%S+) (%S+) (%S+) (%S+) (%S+) (.*)$')
  local key = tag .. 'run:' .. id
  local had = redis.call('HMGET', key, 'epoch', 'token', 'seq', 'status', 'cancel')
  local held = had[1] == epoch and had[2] == token
  local ended = final[had[4]]
  local ahead = held and seq - had[3]
  local fresh = held and ahead == 1 and not ended
  -- Not ahead: a batch sent again, or one without events. More than one ahead: the server lost what came between.
  if held and ahead > 0 and not fresh then held = false end
  if held and ended and events == '0' and ttl ~= '0' then held = false end
  if fresh then
    for index = piece, piece + 2 * artifacts - 1, 2 do
      redis.call('HSET', key .. ':a', ARGV[index], ARGV[index + 1])
    end
    for _ = 1, events do redis.call('XADD', key .. ':j', '*', 'e', line()) end
  else
    for _ = 1, events do line() end
  end
  piece = piece + 2 * artifacts
  if held then
    local change = {'seq', fresh and seq or had[3]}
    local function set(name, value) change[#change + 1] = name; change[#change + 1] = value end
    if fresh then
      set('updated', digits(now))
      if step ~= '-' then set('step', step) end
      if status ~= '-' then set('status', status) end
      if reason ~= '-' then set('reason', string.sub(reason, 2)) end
      ended = final[status]
    end
    if ended then
      set('lease_end', '0')
    elseif ttl ~= '0' then
      set('lease_end', digits(now + ttl))
      redis.call('ZADD', KEYS[1], digits(now + ttl), id)
    end
    redis.call('HSET', key, unpack(change))
    if ended and fresh then
      redis.call('ZREM', KEYS[1], id)
      if ARGV[1] ~= '0' then
        for _, name in ipairs({key, key .. ':j', key .. ':a'}) do redis.call('PEXPIRE', name, ARGV[1]) end
      end
    end
  end
  answers[#answers + 1] = held and '.' .. (had[5] or '') or '!'
end
return table.concat(answers, '\\n')
""",
)

RELEASE = Script(
    "release",
    """
-- KEYS run, due. ARGV id, epoch, token, ms until the run is due again ('' never). A run to be cancelled is due now.
local had = redis.call('HMGET', KEYS[1], 'epoch', 'token', 'status', 'cancel')
if had[1] ~= ARGV[2] or had[2] ~= ARGV[3] or final[had[3]] then return 'gone' end
local delay = had[4] and '0' or ARGV[4]
redis.call('HSET', KEYS[1], 'token', '', 'lease_end', '0')
if delay == '' then
  redis.call('ZREM', KEYS[2], ARGV[1])
else
  redis.call('ZADD', KEYS[2], digits(now_ms() + delay), ARGV[1])
end
return 'released'
""",
)

DUE = Script(
    "due",
    """
-- KEYS due. ARGV how many, ms to push back. Only what is still listed is listed again; what has ended leaves the list.
local tag = string.match(KEYS[1], '^{s%d%d}:')
local now = now_ms()
local found = {}
for _, id in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', digits(now), 'LIMIT', 0, ARGV[1])) do
  local status = redis.call('HGET', tag .. 'run:' .. id, 'status')
  if not status or final[status] then
    redis.call('ZREM', KEYS[1], id)
  else
    redis.call('ZADD', KEYS[1], 'XX', digits(now + ARGV[2]), id)
    found[#found + 1] = id
  end
end
return found
""",
)

CANCEL = Script(
    "cancel",
    """
-- KEYS run, due. ARGV id, reason. The first request's reason stays. A run without a live lease becomes due now.
local had = redis.call('HMGET', KEYS[1], 'status', 'lease_end')
if not had[1] then return 'missing' end
if final[had[1]] then return 'ended' end
redis.call('HSETNX', KEYS[1], 'cancel', ARGV[2])
local now = now_ms()
if tonumber(had[2]) <= now then redis.call('ZADD', KEYS[2], digits(now), ARGV[1]) end
return 'asked'
""",
)

LIST = Script(
    "list",
    """
-- KEYS runs. ARGV cursor id ('' from the newest), the cursor's ms, how many, how many to look at, status, agent
-- ('' any). -> [the cursor to go on from or '', then per run: id and the fields below]. Reads only.
local tag = string.match(KEYS[1], '^{s%d%d}:')
local start = 0
if ARGV[1] ~= '' then
  local rank = redis.call('ZREVRANK', KEYS[1], ARGV[1])
  start = rank and rank + 1 or redis.call('ZCOUNT', KEYS[1], ARGV[2], '+inf')
end
local names = redis.call('ZREVRANGE', KEYS[1], start, start + ARGV[4] - 1)
local rows, last = {}, ''
for _, id in ipairs(names) do
  if #rows == tonumber(ARGV[3]) then return {last, rows} end
  local row = redis.call('HMGET', tag .. 'run:' .. id, 'tenant', 'agent', 'status', 'reason', 'epoch', 'step',
    'created', 'updated')
  last = id
  if row[1] and (ARGV[5] == '' or row[3] == ARGV[5]) and (ARGV[6] == '' or row[2] == ARGV[6]) then
    rows[#rows + 1] = {id, row}
  end
end
return {#names == tonumber(ARGV[4]) and last or '', rows}
""",
)

ALL = (CREATE, CLAIM, WRITE, RELEASE, DUE, CANCEL, LIST)

RECORD_FIELDS = ("tenant", "agent", "status", "reason", "epoch", "step", "created", "updated")
"""Fields of the run hash that make a `RunRecord`, in the order in which `LIST` returns them."""


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys of one run, derived from its shard and id alone."""

    run: str
    journal: str
    artifacts: str
    due: str


def keys_of(shard: int, run_id: str) -> Keys:
    """Return the keys of a run."""
    run = f"{{s{shard:02d}}}:run:{run_id}"
    return Keys(run, f"{run}:j", f"{run}:a", due_key(shard))


def due_key(shard: int) -> str:
    """Return the key of a shard's due runs."""
    return f"{{s{shard:02d}}}:due"


def runs_key(shard: int, tenant: str) -> str:
    """Return the key of a tenant's list of runs."""
    return f"{{s{shard:02d}}}:runs:{tenant}"
