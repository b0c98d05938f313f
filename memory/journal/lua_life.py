"""The Lua of a run's life: created, claimed, written to, given back. `scripts.py` lists keys and explains words."""

TURNS = """
-- Threads: one run at a time has a thread, named in its hash as `run`; the others wait in the list behind it.
local function give_turn(tag, thread, now)
  -- Hand the thread to the first run of its list that has not ended. -> its id and whether it is due at once.
  while true do
    local id = redis.call('LPOP', thread .. ':q')
    if not id then break end
    local key = tag .. 'run:' .. id
    local had = redis.call('HMGET', key, 'status', 'turn', 'lease_end')
    if had[1] and not final[had[1]] then
      local at = math.max(now, tonumber(had[2] or 0), tonumber(had[3]))
      redis.call('HDEL', key, 'turn')
      redis.call('HSET', thread, 'run', id)
      redis.call('ZADD', tag .. 'due', digits(at), id)
      return id, at == now
    end
  end
  redis.call('HDEL', thread, 'run')
end
"""

CREATE = """
-- KEYS run, journal, due, runs. ARGV nonce, id, tenant, agent, agent hash, step, priority ('' normal), webhook
-- ('' none), ms until due, runs to probe for retention, idempotency key ('' none), fingerprint, ms to remember it,
-- thread ('' none), overlap, task as JSON (of a thread's run), how many events, events, artifacts (id, text).
-- -> [code, run id]: created, queued behind another run of its thread, repeated, conflict, thread_busy, exists.
local tag = string.match(KEYS[3], '^{s%d%d}:')
local had = redis.call('HMGET', KEYS[1], 'created', 'nonce', 'turn')
if had[1] then
  -- The nonce tells a repeated create from another run of the same id. Writing makes WAIT wait for what it repeats.
  if had[2] ~= ARGV[1] then return {'exists', ARGV[2]} end
  redis.call('HSET', KEYS[1], 'nonce', ARGV[1])
  return {had[3] and 'queued' or 'created', ARGV[2]}
end
local known_key = ARGV[11] ~= '' and tag .. 'idem:' .. ARGV[3] .. ':' .. ARGV[11]
local known = known_key and redis.call('GET', known_key)
if known then
  local id, fingerprint = string.match(known, '^(%S+) (.*)$')
  if fingerprint ~= ARGV[12] then return {'conflict', id} end
  redis.call('SET', known_key, known, 'KEEPTTL')
  return {'repeated', id}
end
local function probe(list, prefix)
  -- Names of what retention removed leave a list a few at a time.
  if tonumber(ARGV[10]) == 0 then return end
  for _, id in ipairs(redis.call('ZRANDMEMBER', list, ARGV[10])) do
    if redis.call('EXISTS', prefix .. id) == 0 then redis.call('ZREM', list, id) end
  end
end
local now = now_ms()
local due = digits(now + ARGV[9])
local row = {'tenant', ARGV[3], 'agent', ARGV[4], 'agent_hash', ARGV[5], 'status', 'queued', 'step', ARGV[6],
  'epoch', '0', 'token', '', 'seq', '0', 'lease_end', '0', 'created', digits(now), 'updated', digits(now),
  'nonce', ARGV[1]}
local function set(name, value) row[#row + 1] = name; row[#row + 1] = value end
if ARGV[7] ~= '' then set('priority', ARGV[7]) end
if ARGV[8] ~= '' then set('webhook', ARGV[8]) end
local holder = false
if ARGV[14] ~= '' then
  local prefix = tag .. 'thread:' .. ARGV[3] .. ':'
  local list, thread = tag .. 'threads:' .. ARGV[3], prefix .. ARGV[14]
  holder = redis.call('HGET', thread, 'run')
  -- Before any other write, because a server without memory refuses a script's first write and then no more.
  redis.call('HSETNX', thread, 'created', digits(now))
  local status = holder and redis.call('HGET', tag .. 'run:' .. holder, 'status')
  if not status or final[status] then holder = give_turn(tag, thread, now) end
  if holder and ARGV[15] == 'reject' then return {'thread_busy', holder} end
  if holder then
    redis.call(ARGV[15] == 'interrupt' and 'LPUSH' or 'RPUSH', thread .. ':q', ARGV[2])
    set('turn', due)
    if ARGV[15] == 'interrupt' then
      local key = tag .. 'run:' .. holder
      redis.call('HSETNX', key, 'cancel', 'interrupted by run ' .. ARGV[2])
      if tonumber(redis.call('HGET', key, 'lease_end')) <= now then
        redis.call('ZADD', KEYS[3], digits(now), holder)
      end
    end
  else
    redis.call('HSET', thread, 'run', ARGV[2])
  end
  if redis.call('HDEL', thread, 'gone') == 1 then redis.call('HDEL', thread, 'created', 'metadata') end
  redis.call('HSETNX', thread, 'created', digits(now))
  redis.call('HSET', thread, 'updated', digits(now))
  redis.call('PERSIST', thread)
  redis.call('PERSIST', thread .. ':m')
  probe(list, prefix)
  redis.call('ZADD', list, digits(now), ARGV[14])
  set('thread', ARGV[14])
  set('said', ARGV[16])
end
local last = 17 + ARGV[17]
for index = 18, last do redis.call('XADD', KEYS[2], '*', 'e', ARGV[index]) end
for index = last + 1, #ARGV, 2 do redis.call('HSET', KEYS[1] .. ':a', ARGV[index], ARGV[index + 1]) end
redis.call('HSET', KEYS[1], unpack(row))
if not holder then redis.call('ZADD', KEYS[3], due, ARGV[2]) end
probe(KEYS[4], tag .. 'run:')
redis.call('ZADD', KEYS[4], digits(now), ARGV[2])
if known_key then redis.call('SET', known_key, ARGV[2] .. ' ' .. ARGV[12], 'PX', ARGV[13]) end
return {holder and 'queued' or 'created', ARGV[2]}
"""

CLAIM = """
-- KEYS run, journal, due. ARGV id, token, ttl ms, the event before and behind its epoch.
-- -> [code, epoch, cancel, events]; the code is `claimed`, `missing`, `busy`, `behind` or the final status.
local had = redis.call('HMGET', KEYS[1], 'status', 'epoch', 'token', 'lease_end', 'cancel', 'turn')
if not had[1] then return {'missing'} end
if final[had[1]] then return {had[1]} end
-- A run that waits for its turn in a thread may be taken only to be cancelled.
if had[6] and not had[5] then return {'behind'} end
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
"""

WRITE = """
-- Append, renew and touch, for many runs of one shard. KEYS due. ARGV ms that finished runs stay (0: until somebody
-- deletes them), ms that idle threads stay (0: for ever), messages that a thread keeps, records, artifacts.
-- A record is a line of head (see `match` below) and one line per event; artifacts are (id, text) in the same order.
-- -> one line per record: '!' superseded, or '.' and the reason of a requested cancellation; behind a tab the id and
-- the priority of the run whose turn has come.
local tag = string.match(KEYS[1], '^{s%d%d}:')
local now = now_ms()
local text, at, piece = ARGV[4], 1, 5
local function line()
  local stop = string.find(text, '\\n', at, true)
  local part = string.sub(text, at, stop - 1)
  at = stop + 1
  return part
end
local function say(thread, role, id, json)
  redis.call('XADD', thread .. ':m', 'MAXLEN', '~', ARGV[3], '*', 'role', role, 'run', id, 'json', json)
end
local function leave(tenant, name, id, said, output)
  -- The run of a thread has ended: what was said is kept, and the next run has its turn.
  local thread = tag .. 'thread:' .. tenant .. ':' .. name
  local had = redis.call('HMGET', thread, 'run', 'gone')
  if had[1] ~= id then
    redis.call('LREM', thread .. ':q', 0, id)
    return
  end
  local heir, at_once = give_turn(tag, thread, now)
  if not had[2] then
    say(thread, 'user', id, said)
    if output then say(thread, 'assistant', id, output) end
    redis.call('HSET', thread, 'updated', digits(now))
    redis.call('ZADD', tag .. 'threads:' .. tenant, digits(now), name)
    if not heir and ARGV[2] ~= '0' then
      redis.call('PEXPIRE', thread, ARGV[2])
      redis.call('PEXPIRE', thread .. ':m', ARGV[2])
    end
  elseif not heir then
    redis.call('DEL', thread)
  end
  return at_once and heir
end
local function turned(key, id, before, asked, status, last)
  -- The run waits (for a person: it is listed), waits no more, or has ended. `before` and `asked` are the status and
  -- the reason until now: who only looked whether the person has answered tells nobody. -> the run whose turn has come.
  local of = redis.call('HMGET', key, 'tenant', 'created', 'webhook', 'thread', 'said', 'reason')
  local asks = status == 'waiting' and (of[6] == 'approval' or of[6] == 'in_doubt')
  if asks then
    redis.call('ZADD', tag .. 'waiting:' .. of[1], of[2], id)
  elseif before == 'waiting' then
    redis.call('ZREM', tag .. 'waiting:' .. of[1], id)
  end
  if of[3] and (final[status] or asks and (before ~= 'waiting' or asked ~= of[6])) then
    redis.call('XADD', tag .. 'outbox', '*', 'run', id, 'tenant', of[1], 'status', status, 'reason', of[6] or '',
      'url', of[3], 'at', digits(now))
  end
  if not final[status] then return end
  redis.call('ZREM', KEYS[1], id)
  redis.call('DEL', key .. ':c')
  local heir = of[4] and leave(of[1], of[4], id, of[5], status == 'succeeded' and cjson.decode(last).output)
  if of[4] then redis.call('HDEL', key, 'said', 'turn') end
  if ARGV[1] ~= '0' then
    for _, name in ipairs({key, key .. ':j', key .. ':a'}) do redis.call('PEXPIRE', name, ARGV[1]) end
  else
    redis.call('ZADD', tag .. 'ended', digits(now), id)
  end
  return heir
end
local answers = {}
while at <= #text do
  local id, epoch, token, seq, ttl, events, artifacts, step, status, reason =
    string.match(line(), '^(%S+) (%S+) (%S+) (%S+) (%S+) (%S+) (%S+) (%S+) (%S+) (.*)$')
  local key = tag .. 'run:' .. id
  local had = redis.call('HMGET', key, 'epoch', 'token', 'seq', 'status', 'cancel', 'reason')
  local held = had[1] == epoch and had[2] == token
  local ended = final[had[4]]
  local ahead = held and seq - had[3]
  local fresh = held and ahead == 1 and not ended
  -- Not ahead: a batch sent again, or one without events. More than one ahead: the server lost what came between.
  if held and ahead > 0 and not fresh then held = false end
  if held and ended and events == '0' and ttl ~= '0' then held = false end
  local last, heir
  if fresh then
    for index = piece, piece + 2 * artifacts - 1, 2 do
      redis.call('HSET', key .. ':a', ARGV[index], ARGV[index + 1])
    end
    for _ = 1, events do
      last = line()
      redis.call('XADD', key .. ':j', '*', 'e', last)
    end
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
    if fresh and status ~= '-' and (ended or status == 'waiting' or had[4] == 'waiting') then
      heir = turned(key, id, had[4], had[6], status, last)
    end
  end
  local answer = held and '.' .. (had[5] or '') or '!'
  if heir then
    answer = answer .. '\\t' .. heir .. ' ' .. (redis.call('HGET', tag .. 'run:' .. heir, 'priority') or 'normal')
  end
  answers[#answers + 1] = answer
end
return table.concat(answers, '\\n')
"""

RELEASE = """
-- KEYS run, due. ARGV id, epoch, token, ms until the run is due again ('' never). A run to be cancelled is due now,
-- and so is one for which results of tools elsewhere came while it was held.
local had = redis.call('HMGET', KEYS[1], 'epoch', 'token', 'status', 'cancel', 'ready')
if had[1] ~= ARGV[2] or had[2] ~= ARGV[3] or final[had[3]] then return 'gone' end
local delay = (had[4] or had[5]) and '0' or ARGV[4]
if had[5] then redis.call('HDEL', KEYS[1], 'ready') end
redis.call('HSET', KEYS[1], 'token', '', 'lease_end', '0')
if delay == '' then
  redis.call('ZREM', KEYS[2], ARGV[1])
else
  redis.call('ZADD', KEYS[2], digits(now_ms() + delay), ARGV[1])
end
return 'released'
"""

CANCEL = """
-- KEYS run, due. ARGV id, reason. The first request's reason stays. A run without a live lease becomes due now.
local had = redis.call('HMGET', KEYS[1], 'status', 'lease_end', 'cancel')
if not had[1] then return 'missing' end
if final[had[1]] then return 'ended' end
redis.call('HSET', KEYS[1], 'cancel', had[3] or ARGV[2])
local now = now_ms()
if tonumber(had[2]) <= now then redis.call('ZADD', KEYS[2], digits(now), ARGV[1]) end
return 'asked'
"""
