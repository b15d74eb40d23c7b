#!lua flags=allow-oom
-- Removes the queue with all its messages and its archive; what is in the outbox has still to arrive.
-- KEYS  1… the queue; then two as for `bury` in common.lua
-- ARGV  1 nonce, which the two have in their names
-- Returns the incarnation, and the parcels; nil if there was no queue.
local q = queueAt(1)
local incarnation = redis.call('HGET', q.meta, 'incarnation')
if not incarnation then return false end
bury(q, ARGV[1])
for _, place in ipairs(places) do
  if place ~= 'outbox' then redis.call('UNLINK', q[place]) end
end
return { incarnation, q.parcels }
