#!lua flags=allow-oom
-- Removes messages that are not leased.
-- KEYS  1… the queue
-- ARGV  1 nonce; 2 a JSON list of ids
-- Returns 1 for each that was removed, else 0, and the outbox entries.
local q = queueAt(1)
if not isThere(q) then return missing(q) end
local removed = {}
for i, id in ipairs(cjson.decode(ARGV[2])) do
  local m = stateOf(q, id)
  local isLeased = m.r and m.v > now
  removed[i] = 0
  if not isLeased and redis.call('ZSCORE', q.order, id) then
    remove(q, id, m)
    postEnd(q, m, 'cancelled')
    removed[i] = 1
  end
end
finish(q)
return { removed, q.posted }
