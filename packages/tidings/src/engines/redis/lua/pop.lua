#!lua flags=allow-oom
-- Removes and returns messages that are ready, in the order of claim.lua. What was asked to be cancelled goes into the archive.
-- KEYS  1… the queue
-- ARGV  1 nonce; 2 limit; 3 the time of a cancellation, as JSON text
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
  local body = redis.call('HGET', q.body, id)
  table.insert(messages, row(id, body, m))
  remove(q, id, m)
  if m.m and m.m.cancel_requested_at then
    postEnd(q, m, 'cancelled')
    m.m.cancelled_at = ARGV[3]
    shelve(q, id, m, body)
  else
    postEnd(q, m, 'done')
  end
end
finish(q)
return { messages, q.posted }
