-- Helpers for queues with limits, holds or messages in groups: port/queue-limits.ts says what holds. The keys stand beside
-- the others of the queue, whose scripts are not given them, since most queues have none of them.

-- turns     sorted set: <group><priority><id> by text, of messages that may be read
-- slots     sorted set: <group><id> by text, of leased messages
-- lanes     sorted set: groups with something in turns, by pass; messages without a group are in `ready`, and their lane is ''
-- shut      sorted set: such groups of which nothing can be read, by the time until when; +inf: until a lease ends
-- passes    sorted set: the last pass of lanes that are not in lanes
-- parked    sorted set: ids whose ordering key has used up its rate, by the time until when
-- gates     sorted set: what was charged, by the time at which it is as after a rest; hold and 'hold <group>': until when
-- In meta: sharing 1 if there may be any of them; pass, of the lane of the last message that was taken; settings.

local function shareKey(q, name)
  return string.sub(q.meta, 1, -5) .. name
end

local function turnOf(id, m)
  return lineOf(m.g) .. string.format('%04d', 1000 - (m.p or 0)) .. id
end

local function textsIn(key, line, from, count)
  return redis.call('ZRANGEBYLEX', key, '[' .. line, '[' .. line .. '\255', 'LIMIT', from, count)
end

local function passOf(q, group)
  q.pass = q.pass or tonumber(redis.call('HGET', q.meta, 'pass') or 0)
  return math.max(q.pass, tonumber(redis.call('ZSCORE', shareKey(q, 'passes'), group) or 0))
end

-- The group has something that may be read.
local function openLane(q, group)
  q.opened = q.opened or {}
  if q.opened[group] then return end
  q.opened[group] = true
  if redis.call('ZSCORE', shareKey(q, 'lanes'), group) or redis.call('ZSCORE', shareKey(q, 'shut'), group) then return end
  redis.call('ZADD', shareKey(q, 'lanes'), passOf(q, group), group)
  redis.call('HSET', q.meta, 'sharing', 1)
end

local function reopenLane(q, group)
  redis.call('ZREM', shareKey(q, 'shut'), group)
  redis.call('ZADD', shareKey(q, 'lanes'), passOf(q, group), group)
end

-- A message is to be read, by whoever comes.
local function addReady(q, id, m)
  if not m.g then
    redis.call('ZADD', q.ready, -(m.p or 0), id)
    return
  end
  redis.call('ZADD', shareKey(q, 'turns'), 0, turnOf(id, m))
  openLane(q, m.g)
end

-- Takes a message out of those that may be read. Returns whether it was one.
local function takeTurn(q, id, m)
  if not m.g then return redis.call('ZREM', q.ready, id) == 1 end
  if redis.call('ZREM', shareKey(q, 'turns'), turnOf(id, m)) == 0 then return false end
  if #textsIn(shareKey(q, 'turns'), lineOf(m.g), 0, 1) == 0 then
    redis.call('ZREM', shareKey(q, 'lanes'), m.g)
    redis.call('ZREM', shareKey(q, 'shut'), m.g)
    if q.opened then q.opened[m.g] = nil end
  end
  return true
end

-- The lease of a message has ended: others may take its slots. q marks it where the queue has slots.
local function freeSlots(q, id, m)
  if m.g then
    redis.call('ZREM', shareKey(q, 'slots'), lineOf(m.g) .. id)
    if redis.call('ZSCORE', shareKey(q, 'shut'), m.g) == 'inf' then
      reopenLane(q, m.g)
      q.wakeNow = true
    end
  end
  if m.q and redis.call('EXISTS', q.ready, shareKey(q, 'lanes')) > 0 then q.wakeNow = true end
end

local function holdBack(q, m, what, until_)
  local name = what == 'queue' and 'hold' or m.g and 'hold ' .. m.g
  if not name then return end
  redis.call('ZADD', shareKey(q, 'gates'), 'GT', until_, name)
  redis.call('HSET', q.meta, 'sharing', 1)
end

-- Ends the holds of the queue and of the group of a message.
local function endHolds(q, m)
  redis.call('ZREM', shareKey(q, 'gates'), 'hold', 'hold ' .. (m.g or ''))
  if m.g and redis.call('ZSCORE', shareKey(q, 'shut'), m.g) then reopenLane(q, m.g) end
end

-- Settings as a claim asks for them; false where nothing is shared.
local function sharingOf(settings, isShared)
  local found = settings and cjson.decode(settings) or {}
  if not isShared and not found.limits then return false end
  local sharing = { limits = found.limits or {}, weights = found.weights or {}, all = {}, lanes = {} }
  for _, limit in ipairs(sharing.limits) do
    table.insert(sharing.all, limit)
    if limit.per ~= 'orderingKey' then table.insert(sharing.lanes, limit) end
    if limit.per == 'orderingKey' then sharing.hasKeys = true end
    if limit.per == 'queue' and limit.concurrency then sharing.hasSlots = true end
  end
  return sharing
end

-- What limits and holds have room for, while messages are taken one after the other.
local function newRoom(q, sharing)
  local room = { gates = {}, leased = {} }

  local function gate(name)
    if not room.gates[name] then
      room.gates[name] = tonumber(redis.call('ZSCORE', shareKey(q, 'gates'), name) or 0)
    end
    return room.gates[name]
  end

  local function leasedIn(line)
    if not room.leased[line] then
      room.leased[line] = line == '' and redis.call('ZCOUNT', q.leased, '(' .. now, '+inf')
        or redis.call('ZLEXCOUNT', shareKey(q, 'slots'), '[' .. line, '[' .. line .. '\255')
    end
    return room.leased[line]
  end

  local function keyOf(limit, m)
    if limit.per == 'queue' then return '' end
    if limit.per == 'group' then return m.g end
    return m.k
  end

  local function rateName(limit, key)
    return limit.per .. ' ' .. string.format('%.0f', limit.rate.periodMs) .. ' ' .. key
  end

  -- From when on a message may be taken: now, later, or only after the end of a lease (math.huge).
  function room.opensAt(m, limits)
    local opens = math.max(now, gate('hold'), m.g and gate('hold ' .. m.g) or 0)
    for _, limit in ipairs(limits) do
      local key = keyOf(limit, m)
      if key and limit.concurrency and leasedIn(key == '' and '' or lineOf(key)) >= limit.concurrency then
        return math.huge
      end
      if key and limit.rate then
        local every = limit.rate.periodMs / limit.rate.count
        local next_ = gate(rateName(limit, key)) - ((limit.burst or 1) - 1) * every
        -- Sums of fractions are not exact.
        if next_ - now >= 0.001 then opens = math.max(opens, math.ceil(next_)) end
      end
    end
    return opens
  end

  function room.take(m)
    for _, line in ipairs(m.g and { '', lineOf(m.g) } or { '' }) do
      if room.leased[line] then room.leased[line] = room.leased[line] + 1 end
    end
    for _, limit in ipairs(sharing.all) do
      local key = keyOf(limit, m)
      if key and limit.rate then
        local name = rateName(limit, key)
        room.gates[name] = math.max(now, gate(name)) + limit.rate.periodMs / limit.rate.count
      end
    end
  end

  function room.charge(messages)
    for _, m in ipairs(messages) do room.take(m) end
    local gates = {}
    for name, until_ in pairs(room.gates) do
      if until_ > now then addPair(gates, until_, name) end
    end
    writeAll('ZADD', shareKey(q, 'gates'), gates)
    redis.call('ZREMRANGEBYSCORE', shareKey(q, 'gates'), '-inf', now)
  end

  return room
end

-- Lets in what was kept out until then.
local function reopenDue(q, until_, most)
  local due = redis.call('ZRANGEBYSCORE', shareKey(q, 'shut'), '-inf', until_, 'LIMIT', 0, most)
  for _, group in ipairs(due) do reopenLane(q, group) end
  local parked = redis.call('ZRANGEBYSCORE', shareKey(q, 'parked'), '-inf', until_, 'LIMIT', 0, most)
  for i, state in ipairs(readAll(q.state, parked)) do
    redis.call('ZREM', shareKey(q, 'parked'), parked[i])
    addReady(q, parked[i], unpacked(state))
  end
end

local function countReady(q)
  return redis.call('ZCARD', q.ready) + redis.call('ZCARD', shareKey(q, 'turns'))
end

-- How many messages are ready, leased and delayed, and since when the oldest is ready, among the first hundred in line.
local function gaugesOf(q, sharing)
  local function dueIn(set)
    return redis.call('ZCOUNT', set, '-inf', now)
  end
  local function toComeIn(set)
    return redis.call('ZCOUNT', set, '(' .. now, '+inf')
  end
  local inLine = sharing and countReady(q) + redis.call('ZCARD', shareKey(q, 'parked')) or redis.call('ZCARD', q.ready)
  local ready = inLine + dueIn(q.delayed) + dueIn(q.leased) + dueIn(q.waiting)
  local oldest = false
  local function see(visible)
    if visible and (not oldest or visible < oldest) then oldest = visible end
  end
  for _, id in ipairs(redis.call('ZRANGE', q.ready, 0, 99)) do see(stateOf(q, id).v or timeOf(id)) end
  for _, turn in ipairs(sharing and redis.call('ZRANGE', shareKey(q, 'turns'), 0, 99) or {}) do
    local id = string.sub(turn, -13)
    see(stateOf(q, id).v or timeOf(id))
  end
  for _, set in ipairs({ q.delayed, q.leased, q.waiting }) do
    see(tonumber(redis.call('ZRANGEBYSCORE', set, '-inf', now, 'WITHSCORES', 'LIMIT', 0, 1)[2]))
  end
  return ready, toComeIn(q.leased), toComeIn(q.delayed) + toComeIn(q.waiting), oldest
end

local function noteOpening(q, opens)
  if opens < math.huge then q.opensAt = math.min(q.opensAt or opens, opens) end
end

-- The lanes of a queue by pass, some at a time: of those that are not loaded none has a smaller pass than the last that is.
local function newLanes(q, limit)
  local lanes = { list = {}, loaded = 0, horizon = -math.huge }

  function lanes.place(lane)
    local at = #lanes.list + 1
    while at > 1 and lanes.list[at - 1].pass > lane.pass do at = at - 1 end
    table.insert(lanes.list, at, lane)
  end

  local function start(group, pass)
    lanes.place({ group = group ~= '' and group or nil, pass = pass, from = 0, more = true, found = {}, last = 0 })
  end

  local function load()
    local some = redis.call('ZRANGE', shareKey(q, 'lanes'), lanes.loaded, lanes.loaded + 99, 'WITHSCORES')
    for i = 1, #some, 2 do
      lanes.horizon = tonumber(some[i + 1])
      start(some[i], lanes.horizon)
    end
    lanes.loaded = lanes.loaded + 100
    if #some < 200 then lanes.horizon = math.huge end
  end

  -- The one whose turn it is; nil if there is none.
  function lanes.next()
    while lanes.horizon < math.huge and (#lanes.list == 0 or lanes.list[1].pass > lanes.horizon) do load() end
    return table.remove(lanes.list, 1)
  end

  -- The next message of a lane; nil at its end.
  function lanes.nextIn(lane)
    if lane.last == #lane.found and lane.more then
      local count = lane.from == 0 and 4 or math.min(limit, 100)
      if lane.group then
        lane.found = textsIn(shareKey(q, 'turns'), lineOf(lane.group), lane.from, count)
      else
        lane.found = redis.call('ZRANGE', q.ready, lane.from, lane.from + count - 1)
      end
      lane.more, lane.from, lane.last = #lane.found == count, lane.from + #lane.found, 0
    end
    lane.last = lane.last + 1
    local text = lane.found[lane.last]
    return text and string.sub(text, -13)
  end

  if redis.call('EXISTS', q.ready) == 1 then start('', passOf(q, '')) end
  return lanes
end

-- Those of these ids that may be read, with their states, in the order in which they are read.
local function readyOf(q, only)
  local found, seen = {}, {}
  for _, id in ipairs(cjson.decode(only)) do
    local m = not seen[id] and stateOf(q, id)
    local isReady = m and redis.call('ZSCORE', m.g and shareKey(q, 'turns') or q.ready, m.g and turnOf(id, m) or id)
    if isReady then table.insert(found, { -(m.p or 0), id, m }) end
    seen[id] = true
  end
  table.sort(found, function(a, b) return a[1] < b[1] or (a[1] == b[1] and a[2] < b[2]) end)
  return found
end

-- What is next, as limits and lanes have it. Returns a table of the ids; their states; inTurns; heldBack; and groups, those
-- that were looked into. `only` as for `pick`.
local function selectNext(q, sharing, limit, only)
  reopenDue(q, now, 1000)
  local room = newRoom(q, sharing)
  local next_ = { ids = {}, states = {}, groups = {}, inTurns = only == '', heldBack = false }

  -- Takes the message if it may be taken; parks it where its ordering key alone keeps it back. Returns whether it is taken.
  local function admit(id, m)
    local opens = room.opensAt(m, sharing.all)
    if opens <= now then
      room.take(m)
      table.insert(next_.ids, id)
      table.insert(next_.states, m)
      return true
    end
    next_.heldBack = true
    noteOpening(q, opens)
    if m.k and sharing.hasKeys and room.opensAt(m, sharing.lanes) <= now then
      redis.call('ZREM', m.g and shareKey(q, 'turns') or q.ready, m.g and turnOf(id, m) or id)
      redis.call('ZADD', shareKey(q, 'parked'), opens, id)
    end
    if m.g then next_.groups[m.g] = true end
    return false
  end

  if only ~= '' then
    for _, each in ipairs(readyOf(q, only)) do
      if #next_.ids < limit then admit(each[2], each[3]) end
    end
    next_.heldBack = next_.heldBack or redis.call('EXISTS', shareKey(q, 'parked')) == 1
    return next_
  end

  local lanes = newLanes(q, limit)
  while #next_.ids < limit do
    local queueOpens = room.opensAt({}, sharing.lanes)
    if queueOpens > now then
      next_.heldBack = countReady(q) > #next_.ids
      if next_.heldBack then noteOpening(q, queueOpens) end
      return next_
    end
    local lane = lanes.next()
    if not lane then break end
    if lane.group then next_.groups[lane.group] = true end
    if room.opensAt({ g = lane.group }, sharing.lanes) <= now then
      local id = lanes.nextIn(lane)
      -- States that are not needed to choose are read together.
      local m = id and (sharing.hasKeys and stateOf(q, id) or { g = lane.group })
      if id and admit(id, m) then
        lane.pass = lane.pass + 1 / (lane.group and tonumber(sharing.weights[lane.group]) or 1)
      elseif id then
        lane.from = lane.from - 1
      end
      if id then lanes.place(lane) end
    else
      next_.heldBack = true
    end
  end
  if not sharing.hasKeys then
    for i, state in ipairs(readAll(q.state, next_.ids)) do next_.states[i] = unpacked(state) end
  end
  if #next_.ids < limit and redis.call('EXISTS', shareKey(q, 'shut'), shareKey(q, 'parked')) > 0 then next_.heldBack = true end
  return next_
end

-- Charges the first of what was selected, so many, which are taken now: they are not to be read any more. Their leases
-- are written already.
local function chargeTaken(q, sharing, next_, count)
  local room = newRoom(q, sharing)
  local taken, groups, passes, pass = {}, next_.groups, {}, nil
  for i = 1, count do
    local id, m = next_.ids[i], next_.states[i]
    taken[i] = m
    redis.call('ZREM', m.g and shareKey(q, 'turns') or q.ready, m.g and turnOf(id, m) or id)
    if m.g then groups[m.g] = true end
    if next_.inTurns then
      local group = m.g or ''
      pass = passes[group] or tonumber(redis.call('ZSCORE', shareKey(q, 'lanes'), group) or '') or passOf(q, group)
      passes[group] = pass + 1 / (m.g and tonumber(sharing.weights[m.g]) or 1)
    end
  end
  room.charge(taken)
  if pass then
    q.pass = pass
    redis.call('HSET', q.meta, 'pass', pass)
  end
  if passes[''] then redis.call('ZADD', shareKey(q, 'passes'), passes[''], '') end
  local isOpen = room.opensAt({}, sharing.lanes) <= now
  for group in pairs(groups) do
    local score = passes[group] or redis.call('ZSCORE', shareKey(q, 'lanes'), group)
    local hasMore = #textsIn(shareKey(q, 'turns'), lineOf(group), 0, 1) > 0
    -- Where the whole queue is shut nothing is told of its groups.
    local opens = hasMore and isOpen and room.opensAt({ g = group }, sharing.lanes) or now
    if score and hasMore and opens <= now then
      redis.call('ZADD', shareKey(q, 'lanes'), score, group)
    elseif score then
      redis.call('ZREM', shareKey(q, 'lanes'), group)
      redis.call('ZADD', shareKey(q, 'passes'), score, group)
    end
    if opens > now then redis.call('ZADD', shareKey(q, 'shut'), opens, group) end
  end
  if pass then redis.call('ZREMRANGEBYSCORE', shareKey(q, 'passes'), '-inf', pass) end
end

-- When the first opens of what is kept back for a time; nil if there is none.
local function firstOpening(q)
  for _, name in ipairs({ 'shut', 'parked' }) do noteOpening(q, firstDue(shareKey(q, name)) or math.huge) end
  return q.opensAt
end
