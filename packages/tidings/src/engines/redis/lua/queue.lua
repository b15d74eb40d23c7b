-- Helpers of scripts for queues. Keys of a queue always come together, in the order of `queueKeys`; the first one is given
-- by its number.

-- meta      hash: created, incarnation, sent, the time and number of the newest id, and forgotten: no delivery
--           id is forgotten whose outbox entry was made later
-- order     sorted set: all ids that are not archived, by text
-- ready     sorted set: ids that may be read, by falling priority, then by text
-- delayed   sorted set: ids that wait, by the time at which they may be read; leased: the same for leased ones
-- body      hash: id → the message as it was sent; only peek.lua looks into it
-- state     hash: id → all else that is known of a message; missing for a plain unread one
-- lines     sorted set: <ordering key><id> by text; only the first of a key is in one of these three
-- waiting   sorted set: the ids behind them, by the time at which they might be read
-- tasks     hash: task of a correlation → id
-- dedup     hash: dedup id → id of the first message; windows: sorted set of the same by the end of the window
-- targets   hash: target → id of the message that holds it
-- archive   sorted set: archived ids by text; shelf: the same by the time of archiving; archived: hash id → state, body
-- inbox     hash: delivery id → when it came, and the result
-- outbox    hash: id of an entry → the entry, as JSON: see relay.ts
local queueKeys = {
  'meta', 'order', 'ready', 'delayed', 'leased', 'body', 'state', 'lines', 'waiting', 'tasks', 'dedup', 'windows', 'targets',
  'archive', 'shelf', 'archived', 'inbox', 'outbox',
}

-- bodies, ids and readies: what this script stores, until `finish` writes all of it at once. posted: ids and texts of the
-- outbox entries of this script, in turn.
local function queueAt(first)
  local q = { posted = {}, bodies = {}, ids = {}, readies = {} }
  for i, name in ipairs(queueKeys) do q[name] = KEYS[first + i - 1] end
  q.tag = string.sub(q.meta, 1, -6)
  return q
end

local function isThere(q)
  return redis.call('EXISTS', q.meta) == 1
end

local function nextId(q)
  if not q.time then
    local newest = redis.call('HMGET', q.meta, 'time', 'number', 'sent')
    q.time = tonumber(newest[1]) or 0
    q.number = tonumber(newest[2]) or 0
    q.sent = tonumber(newest[3]) or 0
  end
  if now > q.time then
    q.time, q.number = now, 0
  elseif q.number >= 1679615 then
    q.time, q.number = q.time + 1, 0
  else
    q.number = q.number + 1
  end
  q.sent = q.sent + 1
  if q.prefixOf ~= q.time then
    q.prefixOf, q.prefix = q.time, base36(q.time, 9)
  end
  return q.prefix .. base36(q.number, 4)
end

-- The state of a message: p priority, k ordering key, t target, s sentAt, v visibleAt, n readCount, f firstReadAt,
-- l lastReadAt, r receipt, m fields of meta that were changed since (as JSON texts; null: taken away), c correlation,
-- w its task, x 1 if it was sent as a dead letter, a archivedAt, h how often its task was moved.
local function unpacked(state)
  if state then return cmsgpack.unpack(state) end
  return {}
end

local function stateOf(q, id)
  return unpacked(redis.call('HGET', q.state, id))
end

local function save(q, id, m)
  redis.call('HSET', q.state, id, cmsgpack.pack(m))
end

local function noteWake(q, visible)
  if visible <= now then
    q.wakeNow = true
  elseif not q.wakeAt or visible < q.wakeAt then
    q.wakeAt = visible
  end
end

-- Makes a message readable, now or when due. Only for the first of its ordering key.
local function offer(q, id, m, visible)
  if visible > now then
    redis.call('ZADD', q.delayed, visible, id)
  else
    redis.call('ZADD', q.ready, -(m.p or 0), id)
  end
  noteWake(q, visible)
end

local function lineOf(key)
  return #key .. ':' .. key
end

local function firstIn(q, line)
  return redis.call('ZRANGEBYLEX', q.lines, '[' .. line, '[' .. line .. '\255', 'LIMIT', 0, 1)[1]
end

-- Stores a message; o as in `send.lua`. Returns its id.
local function store(q, body, o)
  local id = nextId(q)
  local visible = math.max(now, o.n or (now + (o.d or 0)))
  local m = { p = o.p, k = o.k, t = o.t, m = o.m, c = o.c, w = o.w, x = o.x, h = o.h }
  if o.s and o.s ~= q.time then m.s = o.s end
  if visible > now then m.v = visible end
  addPair(q.bodies, id, body)
  addPair(q.ids, 0, id)
  if next(m) then save(q, id, m) end
  if o.t then redis.call('HSET', q.targets, o.t, id) end
  if o.w then redis.call('HSET', q.tasks, o.w, id) end
  local isFirst = true
  if o.k then
    local line = lineOf(o.k)
    isFirst = not firstIn(q, line)
    redis.call('ZADD', q.lines, 0, line .. id)
  end
  if not isFirst then
    redis.call('ZADD', q.waiting, visible, id)
  elseif visible > now then
    redis.call('ZADD', q.delayed, visible, id)
  else
    addPair(q.readies, -(m.p or 0), id)
  end
  noteWake(q, visible)
  return id
end

-- Takes a message out of the one of these sets that has it.
local function withdraw(q, id)
  for _, set in ipairs({ q.leased, q.ready, q.delayed }) do
    if redis.call('ZREM', set, id) == 1 then return end
  end
end

-- Takes a message out of the queue, and lets the next of its ordering key follow.
local function remove(q, id, m)
  redis.call('HDEL', q.body, id)
  redis.call('HDEL', q.state, id)
  redis.call('ZREM', q.order, id)
  withdraw(q, id)
  if m.t and redis.call('HGET', q.targets, m.t) == id then redis.call('HDEL', q.targets, m.t) end
  if m.w then redis.call('HDEL', q.tasks, m.w) end
  if not m.k then return end
  local line = lineOf(m.k)
  redis.call('ZREM', q.lines, line .. id)
  if redis.call('ZREM', q.waiting, id) == 1 then return end
  local following = firstIn(q, line)
  if not following then return end
  local nextOne = string.sub(following, #line + 1)
  local visible = tonumber(redis.call('ZSCORE', q.waiting, nextOne))
  redis.call('ZREM', q.waiting, nextOne)
  offer(q, nextOne, stateOf(q, nextOne), visible)
end

local function ripenOne(q, set, id)
  redis.call('ZREM', set, id)
  redis.call('ZADD', q.ready, -(stateOf(q, id).p or 0), id)
end

-- Moves messages that are due, at most so many of each set, to the ready ones.
local function ripen(q, most)
  for _, set in ipairs({ q.delayed, q.leased }) do
    for _, id in ipairs(redis.call('ZRANGEBYSCORE', set, '-inf', now, 'LIMIT', 0, most)) do ripenOne(q, set, id) end
  end
end

-- Moves those of these messages that are due. All due ones may be too many for one script.
local function ripenThese(q, ids)
  for _, set in ipairs({ q.delayed, q.leased }) do
    for _, id in ipairs(ids) do
      local due = redis.call('ZSCORE', set, id)
      if due and tonumber(due) <= now then ripenOne(q, set, id) end
    end
  end
end

-- Counts a read.
local function noteRead(m)
  m.n = (m.n or 0) + 1
  m.f = m.f or now
  m.l = now
end

-- Writes what `store` has put aside, and wakes readers.
local function finish(q)
  writeAll('HSET', q.body, q.bodies)
  writeAll('ZADD', q.order, q.ids)
  writeAll('ZADD', q.ready, q.readies)
  if q.time then redis.call('HSET', q.meta, 'time', q.time, 'number', q.number, 'sent', q.sent) end
  if q.wakeNow then redis.call('SPUBLISH', q.tag .. ':wake', '0') end
  if q.wakeAt then redis.call('SPUBLISH', q.tag .. ':wake', tostring(q.wakeAt - now)) end
end

-- A message as the client reads it.
local function row(id, body, m)
  local time = timeOf(id)
  local sent = m.s or time
  local changes = {}
  for field, text in pairs(m.m or {}) do
    table.insert(changes, field)
    table.insert(changes, text)
  end
  return {
    id, body, sent, m.v or time, m.n or 0, m.f or false, m.l or false, m.a or false, m.p or 0, m.k or false,
    m.r or false, changes,
  }
end

-- The message that this one is a duplicate of; nil or false if there is none.
local function firstOf(q, o)
  return firstWithId(q, o) or (o.t and redis.call('HGET', q.targets, o.t))
end

-- Stores a message unless it is a duplicate; o as in `send.lua`. Returns '+id', or '=id' of the first.
local function storeOnce(q, body, o)
  local first = firstOf(q, o)
  if first then
    postVoid(q, o)
    return '=' .. first
  end
  local id = store(q, body, o)
  takeId(q, o, id)
  return '+' .. id
end

-- Ids that are ready, in the order in which they are read.
local function pick(q, limit, only)
  if only == '' then return redis.call('ZRANGE', q.ready, 0, limit - 1) end
  local found, seen = {}, {}
  for _, id in ipairs(cjson.decode(only)) do
    local score = not seen[id] and redis.call('ZSCORE', q.ready, id)
    if score then table.insert(found, { tonumber(score), id }) end
    seen[id] = true
  end
  table.sort(found, function(a, b) return a[1] < b[1] or (a[1] == b[1] and a[2] < b[2]) end)
  local ids = {}
  for i = 1, math.min(limit, #found) do ids[i] = found[i][2] end
  return ids
end
