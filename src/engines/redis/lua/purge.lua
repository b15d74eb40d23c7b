#!lua flags=allow-oom
-- Removes all messages that are not archived.
-- KEYS  1… the queue
-- ARGV  1 nonce
-- Returns how many, and the parcels.
local q = queueAt(1)
if not isThere(q) then return noQueue(q) end
local count = redis.call('ZCARD', q.order)
local tasks = redis.call('HGETALL', q.tasks)
for i = 2, #tasks, 2 do postEnd(q, stateOf(q, tasks[i]), 'cancelled') end
redis.call('UNLINK', q.order, q.ready, q.delayed, q.leased, q.body, q.state, q.lines, q.waiting, q.tasks, q.targets)
return { count, q.parcels }
