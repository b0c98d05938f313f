"""The transitions of schedules. Server-wide keys, in one slot:

| key                                  | type | holds                                                | lives        |
|--------------------------------------|------|------------------------------------------------------|--------------|
| lw:{schedules}:s:<tenant>:<id>       | hash | cron timezone enabled run created version nonce      | till deleted |
|                                      |      | next last last_run firing_at firing_run              |              |
| lw:{schedules}:h:<tenant>:<id>       | list | what came of each firing as JSON, newest first, 100  | till deleted |
| lw:{schedules}:of:<tenant>           | zset | schedule id -> created                               | till deleted |
| lw:{schedules}:due                   | zset | <tenant>:<id> -> millisecond at which it fires       | while enabled |

Moments are milliseconds since 1970. `next` is the moment that comes; `firing_at` and `firing_run` are the moment that
has come and the request as it was then, kept until its run is known. So whoever takes a firing over submits the same
request under the same idempotency key, whatever has been changed meanwhile.
"""

from .journal.scripts import Script

FIELDS = ("cron", "timezone", "enabled", "run", "created", "version", "next", "last", "last_run")
"""Fields of the hash that make a record, in the order in which the scripts return them."""

_RECORD = f"redis.call('HMGET', KEYS[1], {', '.join(repr(each) for each in FIELDS)})"
_ENLIST = """
local function enlist(due, name, moment)
  if moment == '' then redis.call('ZREM', due, name) else redis.call('ZADD', due, moment, name) end
end
"""

CREATE = Script(
    "schedule_create",
    f"""
-- KEYS schedule, list, due. ARGV id, due name, nonce, most schedules, next or '', cron, timezone, enabled, run.
-- -> the record, 'exists' or 'full'. The nonce tells a repetition.
{_ENLIST}
local nonce = redis.call('HGET', KEYS[1], 'nonce')
if nonce == ARGV[3] then return {_RECORD} end
if nonce then return 'exists' end
if redis.call('ZCARD', KEYS[2]) >= tonumber(ARGV[4]) then return 'full' end
local now = digits(now_ms())
redis.call('HSET', KEYS[1], 'nonce', ARGV[3], 'created', now, 'version', '1', 'next', ARGV[5], 'cron', ARGV[6],
  'timezone', ARGV[7], 'enabled', ARGV[8], 'run', ARGV[9])
redis.call('ZADD', KEYS[2], now, ARGV[1])
enlist(KEYS[3], ARGV[2], ARGV[5])
return {_RECORD}
""",
)

CHANGE = Script(
    "schedule_change",
    f"""
-- KEYS schedule, due. ARGV due name, version, next or '', cron, timezone, enabled, run.
-- -> the record, or nil where the version is another one by now. One that is just firing is listed anew behind that.
{_ENLIST}
local had = redis.call('HMGET', KEYS[1], 'version', 'firing_at')
if had[1] ~= ARGV[2] then return nil end
redis.call('HSET', KEYS[1], 'version', digits(had[1] + 1), 'next', ARGV[3], 'cron', ARGV[4], 'timezone', ARGV[5],
  'enabled', ARGV[6], 'run', ARGV[7])
if not had[2] then enlist(KEYS[2], ARGV[1], ARGV[3]) end
return {_RECORD}
""",
)

DUE = Script(
    "schedule_due",
    """
-- KEYS due. ARGV prefix of schedules, how many, ms to hide them from others.
-- -> now, then per schedule: name, moment, run, cron, timezone.
local now = now_ms()
local found = {digits(now)}
for _, name in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', digits(now), 'LIMIT', 0, ARGV[2])) do
  local key = ARGV[1] .. name
  local had = redis.call('HMGET', key, 'next', 'run', 'firing_at', 'firing_run', 'cron', 'timezone')
  local moment, run = had[3] or had[1], had[4] or had[2]
  if not moment or moment == '' then
    redis.call('ZREM', KEYS[1], name)
  else
    redis.call('HSET', key, 'firing_at', moment, 'firing_run', run)
    redis.call('ZADD', KEYS[1], digits(now + ARGV[3]), name)
    found[#found + 1] = {name, moment, run, had[5], had[6]}
  end
end
return found
""",
)

FIRED = Script(
    "schedule_fired",
    f"""
-- KEYS schedule, history, due. ARGV due name, moment, next or '', run id or '', what came of it, entries to keep.
-- -> 1, or 0 where somebody else has done it. `next` counts only when the schedule was not changed meanwhile.
{_ENLIST}
local had = redis.call('HMGET', KEYS[1], 'firing_at', 'next')
if had[1] ~= ARGV[2] then return 0 end
redis.call('HDEL', KEYS[1], 'firing_at', 'firing_run')
redis.call('LPUSH', KEYS[2], ARGV[5])
redis.call('LTRIM', KEYS[2], 0, ARGV[6] - 1)
redis.call('HSET', KEYS[1], 'last', ARGV[2])
if ARGV[4] ~= '' then redis.call('HSET', KEYS[1], 'last_run', ARGV[4]) end
local following = had[2]
if following == ARGV[2] then
  following = ARGV[3]
  redis.call('HSET', KEYS[1], 'next', following)
end
enlist(KEYS[3], ARGV[1], following)
return 1
""",
)

TRIGGERED = Script(
    "schedule_triggered",
    """
-- KEYS schedule, history. ARGV moment, run id or '', what came of it, entries to keep. -> 1, 0 where it is gone.
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
redis.call('LPUSH', KEYS[2], ARGV[3])
redis.call('LTRIM', KEYS[2], 0, ARGV[4] - 1)
redis.call('HSET', KEYS[1], 'last', ARGV[1])
if ARGV[2] ~= '' then redis.call('HSET', KEYS[1], 'last_run', ARGV[2]) end
return 1
""",
)

DELETE = Script(
    "schedule_delete",
    """
-- KEYS schedule, list, due, history. ARGV id, due name. -> 1 deleted, 0 not there.
redis.call('ZREM', KEYS[2], ARGV[1])
redis.call('ZREM', KEYS[3], ARGV[2])
return redis.call('DEL', KEYS[1], KEYS[4]) > 0 and 1 or 0
""",
)
