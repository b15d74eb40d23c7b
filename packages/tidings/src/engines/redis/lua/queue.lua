-- Helpers of scripts for queues. Keys of a queue come together, in the order of `queueAt`; the first one is given by its
-- number. A send of messages without options comes with the first four alone.

-- meta      hash: created, incarnation, sent, the time and number of the newest id, settings: JSON, and paused, the end of a pause among
--           them, or 'inf'; forgotten: no delivery
--           id is forgotten whose outbox entry was made later; ~<token> of every process that has claimed
-- order     sorted set: all ids that are not archived, by text
-- ready     sorted set: ids that may be read, by falling priority, then by text
-- delayed   sorted set: ids that wait, by the time at which they may be read; leased: the same for leased ones
-- body      hash: id → the message as it was sent; only peek.lua looks into it
-- state     hash: id → all else that is known of a message; missing for a plain unread one
-- lines     sorted set: <ordering key><id> by text; only the first of a key is in one of these three
-- waiting   sorted set: the ids behind them, by the time at which they might be read
-- tasks     hash: task of a correlation → id
-- dedup     hash: dedup id → id of the first message; windows: sorted set of the same by the end of the window
-- targets   hash: target, or NUL and a dedup id without a window → id of the message that holds it
-- archive   sorted set: archived ids by text; shelf: the same by the time of archiving; archived: hash id → state, body
-- inbox     hash: delivery id → when it came, and the result
-- outbox    hash: id of an entry → the entry, as JSON: see relay.ts
local queueKeyCount = 18

-- bodies, ids and readies: what this script stores, until `finish` writes all of it at once. posted: ids and texts of the
-- outbox entries of this script, in turn.
local function queueAt(first)
  return {
    meta = KEYS[first], order = KEYS[first + 1], ready = KEYS[first + 2], body = KEYS[first + 3],
    delayed = KEYS[first + 4], leased = KEYS[first + 5], state = KEYS[first + 6], lines = KEYS[first + 7],
    waiting = KEYS[first + 8], tasks = KEYS[first + 9], dedup = KEYS[first + 10], windows = KEYS[first + 11],
    targets = KEYS[first + 12], archive = KEYS[first + 13], shelf = KEYS[first + 14], archived = KEYS[first + 15],
    inbox = KEYS[first + 16], outbox = KEYS[first + 17], posted = {}, bodies = {}, ids = {}, readies = {},
  }
end

-- For messages without options.
local function plainAt(first)
  return { meta = KEYS[first], order = KEYS[first + 1], ready = KEYS[first + 2], body = KEYS[first + 3] }
end

local function isThere(q)
  return redis.call('EXISTS', q.meta) == 1
end

-- paused: the field of meta, a time or 'inf'; false if there is none.
local function isPaused(paused)
  return paused and (paused == 'inf' or now < tonumber(paused))
end

-- Reads of what the next id depends. Returns the incarnation, or false if there is no queue.
local function readNewest(q)
  local newest = redis.call('HMGET', q.meta, 'incarnation', 'time', 'number', 'sent')
  q.time = tonumber(newest[2]) or 0
  q.number = tonumber(newest[3]) or 0
  q.sent = tonumber(newest[4]) or 0
  return newest[1]
end

local function nextId(q)
  if not q.time then readNewest(q) end
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
  return q.prefix .. (q.number == 0 and '0000' or base36(q.number, 4))
end

-- Stores messages without options, and wakes readers. Returns the ids, one after the other.
local function storePlain(q, bodies)
  local ids, pairs_, members = {}, {}, {}
  for i, body in ipairs(bodies) do
    local id = nextId(q)
    ids[i] = id
    pairs_[2 * i - 1], pairs_[2 * i] = id, body
    members[2 * i - 1], members[2 * i] = '0', id
  end
  writeAll('HSET', q.body, pairs_)
  writeAll('ZADD', q.order, members)
  writeAll('ZADD', q.ready, members)
  redis.call('HSET', q.meta, 'time', q.time, 'number', q.number, 'sent', q.sent)
  redis.call('SPUBLISH', string.sub(q.meta, 1, -5) .. 'wake', '0')
  return table.concat(ids)
end

-- The state of a message: p priority, k ordering key, g group, q 1 if its lease is a slot of a limit on the queue, t target, s sentAt, v visibleAt, n readCount, f firstReadAt,
-- l lastReadAt, r receipt (see holderIn), m fields of meta that were changed since (as JSON texts; null: taken away), c correlation,
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
    addReady(q, id, m)
  end
  noteWake(q, visible)
end

local function lineOf(key)
  return #key .. ':' .. key
end

local function firstIn(q, line)
  return redis.call('ZRANGEBYLEX', q.lines, '[' .. line, '[' .. line .. '\255', 'LIMIT', 0, 1)[1]
end

-- Ends leases: the messages are ready again.
local function giveBack(q, ids, states)
  local saved, readies = {}, {}
  for i, id in ipairs(ids) do
    local m = states[i]
    m.r, m.v = nil, now
    addPair(saved, id, cmsgpack.pack(m))
    if m.g then
      freeSlots(q, id, m)
      addReady(q, id, m)
    else
      addPair(readies, -(m.p or 0), id)
    end
    noteWake(q, now)
  end
  writeAll('HSET', q.state, saved)
  writeAll('ZREM', q.leased, ids)
  writeAll('ZADD', q.ready, readies)
end

-- Ids and states of the messages that were leased with this nonce for so long, at most `ageMs` ago.
local function leasedWith(q, nonce, leaseMs, ageMs)
  local until_ = now + leaseMs
  local found, states = {}, {}
  local ids = redis.call('ZRANGE', q.leased, until_, until_ - ageMs, 'BYSCORE', 'REV', 'LIMIT', 0, 10000)
  for i, state in ipairs(readAll(q.state, ids)) do
    local m = unpacked(state)
    if m.r and m.v > now and string.sub(m.r, 1, #nonce) == nonce then
      table.insert(found, ids[i])
      table.insert(states, m)
    end
  end
  return found, states
end

-- Whether a call of this number comes too late: a later one of the same nonce has come, whose answer counts. Connections that
-- were given up may still hold calls.
local function isOvertaken(q, nonce, number)
  local o = { u = { 'claim ' .. nonce, 60000 } }
  local latest = tonumber(firstWithId(q, o) or -1)
  if number > 0 and number >= latest then takeId(q, o, number) end
  return number < latest
end

-- A dedup id without a window, among the targets, in none of which there is a NUL.
local function lastingId(o)
  return o.u and o.u[2] == 0 and '\0' .. o.u[1] or nil
end

-- Stores a message; o as in `send.lua`. Returns its id.
local function store(q, body, o)
  local id = nextId(q)
  if not next(o) then
    addPair(q.bodies, id, body)
    addPair(q.ids, '0', id)
    addPair(q.readies, '0', id)
    q.wakeNow = true
    return id
  end
  local visible = math.max(now, o.n or (now + (o.d or 0)))
  local m = { p = o.p, k = o.k, g = o.g, t = o.t or lastingId(o), m = o.m, c = o.c, w = o.w, x = o.x, h = o.h }
  if o.s and o.s ~= q.time then m.s = o.s end
  if visible > now then m.v = visible end
  addPair(q.bodies, id, body)
  addPair(q.ids, '0', id)
  if next(m) then save(q, id, m) end
  if m.t then redis.call('HSET', q.targets, m.t, id) end
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
  elseif m.g then
    addReady(q, id, m)
  else
    addPair(q.readies, -(m.p or 0), id)
  end
  noteWake(q, visible)
  return id
end

-- Takes a message out of the one of these sets that has it.
local function withdraw(q, id, m)
  if redis.call('ZREM', q.leased, id) == 1 then
    if m.g or m.q then freeSlots(q, id, m) end
    return
  end
  if takeTurn(q, id, m) or redis.call('ZREM', q.delayed, id) == 1 then return end
  if m.k then redis.call('ZREM', shareKey(q, 'parked'), id) end
end

-- Takes a message out of the queue, and lets the next of its ordering key follow.
local function remove(q, id, m)
  redis.call('HDEL', q.body, id)
  redis.call('HDEL', q.state, id)
  redis.call('ZREM', q.order, id)
  withdraw(q, id, m)
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

-- Puts a message that was removed into the archive.
local function shelve(q, id, m, body)
  m.r, m.a = nil, now
  redis.call('HSET', q.archived, id, cmsgpack.pack({ m, body }))
  redis.call('ZADD', q.archive, 0, id)
  redis.call('ZADD', q.shelf, now, id)
end

local function ripenOne(q, set, id)
  redis.call('ZREM', set, id)
  local m = stateOf(q, id)
  if m.g and set == q.leased then freeSlots(q, id, m) end
  addReady(q, id, m)
end

-- When the first of these is due; nil if there are none.
local function firstDue(set)
  return tonumber(redis.call('ZRANGE', set, 0, 0, 'WITHSCORES')[2])
end

-- Moves messages that are due, at most so many of each set, to the ready ones. Returns when the next one is due, or nil.
local function ripen(q, most)
  local soonest
  for _, set in ipairs({ q.delayed, q.leased }) do
    local due = firstDue(set)
    if due and due <= now then
      for _, id in ipairs(redis.call('ZRANGEBYSCORE', set, '-inf', now, 'LIMIT', 0, most)) do ripenOne(q, set, id) end
      due = firstDue(set)
    end
    if due then soonest = math.min(soonest or due, due) end
  end
  return soonest
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

-- Writes what `store` has put aside.
local function flush(q)
  writeAll('HSET', q.body, q.bodies)
  writeAll('ZADD', q.order, q.ids)
  writeAll('ZADD', q.ready, q.readies)
  if #q.ids > 0 then redis.call('HSET', q.meta, 'time', q.time, 'number', q.number, 'sent', q.sent) end
  q.bodies, q.ids, q.readies = {}, {}, {}
end

-- The same, and wakes readers.
local function finish(q)
  flush(q)
  local channel = (q.wakeNow or q.wakeAt) and string.sub(q.meta, 1, -5) .. 'wake'
  if q.wakeNow then redis.call('SPUBLISH', channel, '0') end
  if q.wakeAt then redis.call('SPUBLISH', channel, tostring(q.wakeAt - now)) end
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
    m.r or false, changes, m.g or false,
  }
end

local function isUnread(q, id)
  flush(q)
  return redis.call('ZSCORE', q.order, id) and (stateOf(q, id).n or 0) == 0
end

-- The message that has the dedup id: within the window, or as long as nobody has read it. What replaces finds only what nobody
-- has read.
local function holderOf(q, o)
  if not o.u then return end
  local holder = firstWithId(q, o)
  if holder and (not o.u[3] or isUnread(q, holder)) then return holder end
  holder = redis.call('HGET', q.targets, '\0' .. o.u[1])
  return holder and isUnread(q, holder) and holder
end

-- Lets the window begin anew, or the id be held without one.
local function holdAnew(q, id, m, o)
  local lasting, held = lastingId(o), '\0' .. o.u[1]
  if not lasting then
    takeId(q, o, id)
    if m.t == held then
      redis.call('HDEL', q.targets, held)
      m.t = nil
    end
  elseif not m.t then
    redis.call('HSET', q.targets, lasting, id)
    redis.call('HDEL', q.dedup, o.u[1])
    redis.call('ZREM', q.windows, o.u[1])
    m.t = lasting
  end
end

-- The message that this one is a duplicate of, or takes the place of; nil or false if there is none.
local function firstOf(q, o)
  return holderOf(q, o) or (o.t and redis.call('HGET', q.targets, o.t))
end

-- Gives a message that nobody has read the body of another.
local function replace(q, id, body, o)
  local m = stateOf(q, id)
  m.m = o.m
  redis.call('HSET', q.body, id, body)
  if o.u[3] == 2 then
    local visible = o.n or now + (o.d or 0)
    if o.u[4] then visible = math.min(visible, (m.s or timeOf(id)) + o.u[4]) end
    m.v = math.max(now, visible)
    if redis.call('ZSCORE', q.waiting, id) then
      redis.call('ZADD', q.waiting, m.v, id)
    else
      withdraw(q, id, m)
      offer(q, id, m, m.v)
    end
    holdAnew(q, id, m, o)
  end
  save(q, id, m)
end

-- Stores a message unless it is a duplicate; o as in `send.lua`. Returns '+id', '=id' of the first, or '~id' of the one whose
-- place it took.
local function storeOnce(q, body, o)
  local first = firstOf(q, o)
  if first then
    postVoid(q, o)
    if not (o.u and o.u[3]) then return '=' .. first end
    replace(q, first, body, o)
    return '~' .. first
  end
  local id = store(q, body, o)
  if not lastingId(o) then takeId(q, o, id) end
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
