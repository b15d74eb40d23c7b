#!lua flags=allow-oom
-- Removes the queue with all its messages and its archive; what is in the outbox has still to arrive.
-- KEYS  1… the queue
-- ARGV  1 nonce
-- Returns the incarnation, and the parcels; nil if there was no queue.
local q = queueAt(1)
local incarnation = redis.call('HGET', q.meta, 'incarnation')
if not incarnation then return false end
local tasks = redis.call('HGETALL', q.tasks)
for i = 2, #tasks, 2 do postEnd(q, stateOf(q, tasks[i]), 'cancelled') end
for _, place in ipairs(places) do
  if place ~= 'outbox' then redis.call('UNLINK', q[place]) end
end
return { incarnation, q.parcels }
