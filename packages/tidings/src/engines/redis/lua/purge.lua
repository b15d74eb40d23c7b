#!lua flags=allow-oom
-- Removes all messages that are not archived.
-- KEYS  1… the queue; then two as for `postRemoved` in relay.lua
-- ARGV  1 nonce: the name of the removed queue, which the two have in theirs
-- Returns how many, and the outbox entries.
local q = queueAt(1)
if not isThere(q) then return missing(q) end
local count = redis.call('ZCARD', q.order)
postRemoved(q, ARGV[1])
redis.call('UNLINK', q.order, q.ready, q.delayed, q.leased, q.body, q.state, q.lines, q.waiting, q.tasks, q.targets)
for _, name in ipairs({ 'turns', 'slots', 'lanes', 'shut', 'parked' }) do redis.call('UNLINK', shareKey(q, name)) end
return { count, q.posted }
