"""The Lua that finds, lists, copies and removes runs. `scripts.py` lists the keys and explains the words."""

DUE = """
-- KEYS due. ARGV how many, ms to push back. Only what is still listed is listed again; what has ended leaves the list.
-- -> id and priority of each run, in turns.
local tag = string.match(KEYS[1], '^{s%d%d}:')
local now = now_ms()
local found = {}
for _, id in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', digits(now), 'LIMIT', 0, ARGV[1])) do
  local had = redis.call('HMGET', tag .. 'run:' .. id, 'status', 'priority')
  if not had[1] or final[had[1]] then
    redis.call('ZREM', KEYS[1], id)
  else
    redis.call('ZADD', KEYS[1], 'XX', digits(now + ARGV[2]), id)
    found[#found + 1] = id
    found[#found + 1] = had[2] or 'normal'
  end
end
return found
"""

LIST = """
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
    'created', 'updated', 'archived')
  last = id
  if row[1] and (ARGV[5] == '' or row[3] == ARGV[5]) and (ARGV[6] == '' or row[2] == ARGV[6]) then
    rows[#rows + 1] = {id, row}
  end
end
return {#names == tonumber(ARGV[4]) and last or '', rows}
"""

WAITING = """
-- KEYS waiting. ARGV cursor id ('' from the newest), the cursor's ms, how many. -> ids. Reads only.
local start = 0
if ARGV[1] ~= '' then
  local rank = redis.call('ZREVRANK', KEYS[1], ARGV[1])
  start = rank and rank + 1 or redis.call('ZCOUNT', KEYS[1], ARGV[2], '+inf')
end
return redis.call('ZREVRANGE', KEYS[1], start, start + ARGV[3] - 1)
"""

SNAPSHOT = """
-- KEYS run, journal, artifacts (left out: none are wanted). -> [fields as in LIST, events, artifacts], or nil where
-- there are none. Reads only.
local row = redis.call('HMGET', KEYS[1], 'tenant', 'agent', 'status', 'reason', 'epoch', 'step', 'created', 'updated',
  'archived')
if not row[1] or row[9] then return nil end
return {row, redis.call('XRANGE', KEYS[2], '-', '+'), KEYS[3] and redis.call('HGETALL', KEYS[3]) or {}}
"""

DELETE = """
-- KEYS run, journal, artifacts, due, ended. ARGV id, ms for which the summary stays listed (0: not at all).
local tag = string.match(KEYS[4], '^{s%d%d}:')
local had = redis.call('HMGET', KEYS[1], 'status', 'tenant', 'archived')
if had[1] and not final[had[1]] then return 'running' end
redis.call('ZREM', KEYS[4], ARGV[1])
redis.call('ZREM', KEYS[5], ARGV[1])
redis.call('DEL', KEYS[2], KEYS[3])
if not had[1] or (had[3] and ARGV[2] ~= '0') then return 'gone' end
if ARGV[2] == '0' then
  redis.call('DEL', KEYS[1])
  redis.call('ZREM', tag .. 'runs:' .. had[2], ARGV[1])
else
  redis.call('HDEL', KEYS[1], 'token', 'seq', 'lease_end', 'cancel', 'nonce', 'webhook', 'priority', 'agent_hash',
    'thread', 'ready')
  redis.call('HSET', KEYS[1], 'archived', '1')
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
end
return 'gone'
"""
