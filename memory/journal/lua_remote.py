"""The scripts of calls that run on other workers; `remote` says what they keep and who runs them when.

Each line of a call: attempt, state (`sent`, `started`, `done`), token of the tool worker or `-`, a moment (when it was
sent, until when its worker is believed alive, when it was done), how often it was sent, and the run's deadline or 0.
"""

_PRELUDE = """
local function parts(line)
  return string.match(line, '^(%d+) (%a+) (%S+) (%d+) (%d+) (%d+)$')
end
local function line_of(...) return table.concat({...}, ' ') end
local function drop(calls, id)
  local line = redis.call('HGET', calls, id .. ':s')
  if not line then return end
  local _, state = parts(line)
  if state ~= 'done' then redis.call('HINCRBY', calls, 'pending', -1) end
  redis.call('HDEL', calls, id .. ':s', id .. ':q', id .. ':o')
end
local function watch(due, id, status, now, alive)
  -- Somebody must look at a sleeping run when its tool worker has been silent for too long, and not before. A run that
  -- is due already stays so.
  local at = tonumber(redis.call('ZSCORE', due, id) or '0')
  if status == 'waiting' and at > now then redis.call('ZADD', due, digits(alive + 1000), id) end
end
local function wake(run, due, id, lease_end, now)
  -- A run that somebody holds becomes due when it is released.
  if tonumber(lease_end) > now then
    redis.call('HSET', run, 'ready', '1')
  else
    redis.call('ZADD', due, digits(now), id)
  end
end
"""

REGISTER = (
    _PRELUDE
    + """
-- KEYS run, calls. ARGV epoch, token, ms to keep, then per call: id, attempt, ms until the run's deadline ('' none),
-- what the tool worker is told. A call of the same attempt that nobody started counts as sent anew.
local had = redis.call('HMGET', KEYS[1], 'epoch', 'token', 'status')
if had[1] ~= ARGV[1] or had[2] ~= ARGV[2] or final[had[3]] then return 'fenced' end
local now = now_ms()
for index = 4, #ARGV, 4 do
  local id, attempt, left = ARGV[index], ARGV[index + 1], ARGV[index + 2]
  local line = redis.call('HGET', KEYS[2], id .. ':s')
  local was, state, token, moment, sends, deadline
  if line then was, state, token, moment, sends, deadline = parts(line) end
  if was ~= attempt then
    if not line or state == 'done' then redis.call('HINCRBY', KEYS[2], 'pending', 1) end
    deadline = left == '' and '0' or digits(now + left)
    redis.call('HDEL', KEYS[2], id .. ':o')
    redis.call('HSET', KEYS[2], id .. ':s', line_of(attempt, 'sent', '-', digits(now), '1', deadline),
      id .. ':q', ARGV[index + 3])
  elseif state == 'sent' then
    redis.call('HSET', KEYS[2], id .. ':s', line_of(was, state, token, digits(now), digits(sends + 1), deadline))
  end
end
redis.call('PEXPIRE', KEYS[2], ARGV[3])
return 'registered'
"""
)

LOOK = (
    _PRELUDE
    + """
-- KEYS run, calls. ARGV epoch, token, ms to keep, ids. Calls that are not asked about are forgotten.
-- -> false when fenced, or [now, then per call its line and what came of it].
local had = redis.call('HMGET', KEYS[1], 'epoch', 'token')
if had[1] ~= ARGV[1] or had[2] ~= ARGV[2] then return false end
local wanted, found = {}, {digits(now_ms())}
for index = 4, #ARGV do wanted[ARGV[index]] = true end
for _, name in ipairs(redis.call('HKEYS', KEYS[2])) do
  local id = string.match(name, '^(.*):s$')
  if id and not wanted[id] then drop(KEYS[2], id) end
end
for index = 4, #ARGV do
  local row = redis.call('HMGET', KEYS[2], ARGV[index] .. ':s', ARGV[index] .. ':o')
  found[#found + 1] = row[1] or ''
  found[#found + 1] = row[2] or ''
end
redis.call('PEXPIRE', KEYS[2], ARGV[3])
return found
"""
)

FORGET = """
-- KEYS run, calls. ARGV epoch, token.
local had = redis.call('HMGET', KEYS[1], 'epoch', 'token')
if had[1] ~= ARGV[1] or had[2] ~= ARGV[2] then return 'fenced' end
redis.call('DEL', KEYS[2])
redis.call('HDEL', KEYS[1], 'ready')
return 'forgotten'
"""

START = (
    _PRELUDE
    + """
-- KEYS run, calls, due. ARGV run, call, attempt, token, ms for which the tool worker is believed alive.
-- -> ['started', request, ms until the run's deadline or ''], or one code: `stopped` (the run is to end), `gone`.
local line = redis.call('HGET', KEYS[2], ARGV[2] .. ':s')
local had = redis.call('HMGET', KEYS[1], 'status', 'cancel')
if not line or not had[1] then return {'gone'} end
if final[had[1]] or had[2] then return {'stopped'} end
local attempt, state, token, _, sends, deadline = parts(line)
if attempt ~= ARGV[3] then return {'gone'} end
if state ~= 'sent' and not (state == 'started' and token == ARGV[4]) then return {'gone'} end
local now = now_ms()
local alive = now + ARGV[5]
redis.call('HSET', KEYS[2], ARGV[2] .. ':s', line_of(attempt, 'started', ARGV[4], digits(alive), sends, deadline))
watch(KEYS[3], ARGV[1], had[1], now, alive)
local left = deadline == '0' and '' or digits(deadline - now)
return {'started', redis.call('HGET', KEYS[2], ARGV[2] .. ':q'), left}
"""
)

BEAT = (
    _PRELUDE
    + """
-- KEYS run, calls, due. ARGV run, call, token, ms for which the tool worker is believed alive, ms to keep.
local line = redis.call('HGET', KEYS[2], ARGV[2] .. ':s')
if not line then return 'gone' end
local attempt, state, token, _, sends, deadline = parts(line)
if state ~= 'started' or token ~= ARGV[3] then return 'gone' end
local had = redis.call('HMGET', KEYS[1], 'status', 'cancel')
if final[had[1]] or had[2] then return 'stopped' end
local now = now_ms()
local alive = now + ARGV[4]
redis.call('HSET', KEYS[2], ARGV[2] .. ':s', line_of(attempt, state, token, digits(alive), sends, deadline))
redis.call('PEXPIRE', KEYS[2], ARGV[5])
watch(KEYS[3], ARGV[1], had[1], now, alive)
return 'alive'
"""
)

DEPOSIT = (
    _PRELUDE
    + """
-- KEYS run, calls, due. ARGV run, call, token, what came of it, ms to keep.
-- -> [`ready`, priority] with the last result that the run waits for, [`stored`] before, [`gone`] for a stranger.
local line = redis.call('HGET', KEYS[2], ARGV[2] .. ':s')
if not line then return {'gone'} end
local attempt, state, token, _, sends, deadline = parts(line)
local had = redis.call('HMGET', KEYS[1], 'status', 'lease_end', 'priority')
if token ~= ARGV[3] or state == 'sent' or not had[1] or final[had[1]] then return {'gone'} end
local now = now_ms()
if state == 'started' then
  redis.call('HSET', KEYS[2], ARGV[2] .. ':s', line_of(attempt, 'done', token, digits(now), sends, deadline),
    ARGV[2] .. ':o', ARGV[4])
  redis.call('HINCRBY', KEYS[2], 'pending', -1)
  redis.call('PEXPIRE', KEYS[2], ARGV[5])
end
if tonumber(redis.call('HGET', KEYS[2], 'pending')) > 0 then return {'stored'} end
wake(KEYS[1], KEYS[3], ARGV[1], had[2], now)
return {'ready', had[3] or 'normal'}
"""
)
