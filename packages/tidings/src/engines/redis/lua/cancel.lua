#!lua flags=allow-oom
-- Removes messages that are not leased.
-- KEYS  1… the queue
-- ARGV  1 nonce; 2 a JSON list of ids; 3 when those that are leased are asked for, a JSON text, or '' to leave them alone
-- Returns 1 for each that was removed, 2 for each that was asked for, else 0, and the outbox entries.
local q = queueAt(1)
if not isThere(q) then return missing(q) end
local ended, isAsked = {}, false
for i, id in ipairs(cjson.decode(ARGV[2])) do
  local m = stateOf(q, id)
  local isLeased = m.r and m.v > now
  ended[i] = 0
  if isLeased and ARGV[3] ~= '' then
    m.m = m.m or {}
    m.m.cancel_requested_at = m.m.cancel_requested_at or ARGV[3]
    save(q, id, m)
    ended[i], isAsked = 2, true
  elseif not isLeased and redis.call('ZSCORE', q.order, id) then
    remove(q, id, m)
    postEnd(q, m, 'cancelled')
    ended[i] = 1
  end
end
finish(q)
if isAsked then redis.call('SPUBLISH', shareKey(q, 'cancels'), '0') end
return { ended, q.posted }
