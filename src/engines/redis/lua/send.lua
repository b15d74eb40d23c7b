#!lua
-- Stores messages in their order, or takes in what came from other slots.
-- KEYS  1… the queue
-- ARGV  1 nonce; 2 incarnation that the queue must have, or ''; 3 the intent that this fulfils, or ''; then for each
--       message its body and its options, as JSON or '': d delay, n time before which it is not ready, p priority,
--       k ordering key, u dedup id and window, t target, s sentAt, m changed fields of meta, c correlation, w task,
--       x 1 for a dead letter, y the parcel that it came by
-- Returns '+id' for each, or '=id' of the first if it is a duplicate, and the parcels.
local q = queueAt(1)
if not isThere(q) then return noQueue(q) end
if ARGV[2] ~= '' and redis.call('HGET', q.meta, 'incarnation') ~= ARGV[2] then return noQueue(q) end
if ARGV[3] ~= '' and redis.call('HDEL', q.outbox, ARGV[3]) == 0 then
  return redis.error_reply('NOINTENT it took too long')
end
forgetDedup(q, 10)
local results = {}
for i = 4, #ARGV, 2 do
  local options = ARGV[i + 1]
  table.insert(results, storeOnce(q, ARGV[i], options == '' and {} or cjson.decode(options)))
end
finish(q)
return { results, q.parcels }
