#!lua flags=no-writes
-- Counts. The age of the oldest ready message is that of the oldest among the first hundred in line.
-- KEYS  1… the queue
-- Returns ready, of these held back, delayed, leased, archived, sent, ages of the oldest ready, newest and oldest message, created,
-- in how long the next one becomes ready.
local q = queueAt(1)
if not isThere(q) then return missing(q) end
local meta = redis.call('HMGET', q.meta, 'sent', 'created', 'settings', 'sharing')
local sharing = (meta[3] or meta[4]) and sharingOf(meta[3], meta[4])

local function countHeldBack()
  if not sharing then return 0 end
  if newRoom(q, sharing).opensAt({}, sharing.lanes) > now then return countReady(q) end
  local count = 0
  for _, group in ipairs(redis.call('ZRANGE', shareKey(q, 'shut'), '(' .. now, '+inf', 'BYSCORE')) do
    local line = lineOf(group)
    count = count + redis.call('ZLEXCOUNT', shareKey(q, 'turns'), '[' .. line, '[' .. line .. '\255')
  end
  return count
end

local ready, leased, delayed, oldestReady = gaugesOf(q, sharing)
local nextDue = false
for _, set in ipairs({ q.delayed, q.leased, q.waiting }) do
  local due = tonumber(redis.call('ZRANGEBYSCORE', set, '(' .. now, '+inf', 'WITHSCORES', 'LIMIT', 0, 1)[2])
  if due and (not nextDue or due < nextDue) then nextDue = due end
end
local function ageOf(id)
  return id and math.max(0, now - (stateOf(q, id).s or timeOf(id)))
end
local function orNull(value)
  if value then return value end
  return false
end
return {
  ready, countHeldBack(), delayed, leased, redis.call('ZCARD', q.archive), tonumber(meta[1]),
  orNull(oldestReady and math.max(0, now - oldestReady)),
  orNull(ageOf(redis.call('ZRANGE', q.order, -1, -1)[1])),
  orNull(ageOf(redis.call('ZRANGE', q.order, 0, 0)[1])),
  tonumber(meta[2]), orNull(nextDue and nextDue - now),
}
