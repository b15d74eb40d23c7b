#!lua
-- Says which tasks are going to be sent. Whoever finds an intent that is old takes them back.
-- KEYS  1… the queue
-- ARGV  1 nonce; 2 the tasks, as a parcel
-- Returns the intent.
local q = queueAt(1)
if not isThere(q) then return noQueue(q) end
local id = base36(now, 9) .. '-' .. ARGV[1] .. '-intent'
redis.call('HSET', q.outbox, id, ARGV[2])
return id
