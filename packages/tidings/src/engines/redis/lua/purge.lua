#!lua flags=allow-oom
-- Removes all messages that are not archived.
-- KEYS  1… the queue; then two as for `bury` in common.lua
-- ARGV  1 nonce, which the two have in their names
-- Returns how many, and the parcels.
local q = queueAt(1)
if not isThere(q) then return noQueue(q) end
local count = redis.call('ZCARD', q.order)
bury(q, ARGV[1])
redis.call('UNLINK', q.order, q.ready, q.delayed, q.leased, q.body, q.state, q.lines, q.waiting, q.tasks, q.targets)
return { count, q.parcels }
