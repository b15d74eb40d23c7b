#!lua flags=allow-oom
-- Removes the queue with its messages and its archive. The outbox stays until its entries are delivered.
-- KEYS  1… the queue; then two as for `postRemoved` in relay.lua
-- ARGV  1 nonce: the name of the removed queue, which the two have in theirs
-- Returns the incarnation, and the outbox entries; nil if there was no queue.
local q = queueAt(1)
local incarnation = redis.call('HGET', q.meta, 'incarnation')
if not incarnation then return false end
postRemoved(q, ARGV[1])
redis.call('UNLINK', unpack(KEYS, 1, queueKeyCount - 1))
for _, name in ipairs({ 'turns', 'slots', 'lanes', 'shut', 'passes', 'parked', 'gates' }) do
  redis.call('UNLINK', shareKey(q, name))
end
-- What was kept of its last days: eight at most.
local base, hour = historyBase(q.meta, incarnation), math.floor(now / 3600000)
local past = { base }
for ago = 0, 8 * 24 + 1 do past[#past + 1] = base .. ':' .. hour - ago end
redis.call('UNLINK', unpack(past))
return { incarnation, q.posted }
