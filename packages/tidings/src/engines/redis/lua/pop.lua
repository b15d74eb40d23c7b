#!lua flags=allow-oom
-- Removes and returns messages that are ready, in the order of claim.lua.
-- KEYS  1… the queue
-- ARGV  1 nonce; 2 limit
-- Returns the messages, and the outbox entries.
local q = queueAt(1)
local known = redis.call('HMGET', q.meta, 'incarnation', 'settings', 'sharing', 'paused')
if not known[1] then return missing(q) end
if isPaused(known[4]) then return { {}, {} } end
local limit = tonumber(ARGV[2])
ripen(q, math.max(1000, limit))
local sharing = (known[2] or known[3]) and sharingOf(known[2], known[3])

local function take()
  if not sharing then return pick(q, limit, '') end
  local selected = selectNext(q, sharing, limit, '')
  chargeTaken(q, sharing, selected, #selected.ids)
  return selected.ids
end

local messages = {}
for _, id in ipairs(take()) do
  local m = stateOf(q, id)
  noteRead(m)
  m.r = nil
  table.insert(messages, row(id, redis.call('HGET', q.body, id), m))
  remove(q, id, m)
  postEnd(q, m, 'done')
end
finish(q)
return { messages, q.posted }
