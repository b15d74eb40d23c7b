#!lua flags=allow-oom
-- Removes and returns messages that are ready, in the order of claim.lua.
-- KEYS  1… the queue
-- ARGV  1 nonce; 2 limit
-- Returns the messages, and the outbox entries.
local q = queueAt(1)
if not isThere(q) then return missing(q) end
local limit = tonumber(ARGV[2])
ripen(q, math.max(1000, limit))
local messages = {}
for _, id in ipairs(pick(q, limit, '')) do
  local m = stateOf(q, id)
  noteRead(m)
  m.r = nil
  table.insert(messages, row(id, redis.call('HGET', q.body, id), m))
  remove(q, id, m)
  postEnd(q, m, 'done')
end
finish(q)
return { messages, q.posted }
