#!lua
-- Announces in an outbox which tasks are about to be sent. Upkeep withdraws an old intent.
-- KEYS  1 meta of the queue or the topic; 2 its outbox
-- ARGV  1 nonce; 2 the tasks, as an outbox entry
-- Returns the id of the intent.
if redis.call('EXISTS', KEYS[1]) == 0 then return missing({ meta = KEYS[1] }) end
local id = base36(now, 9) .. '-' .. ARGV[1] .. '-intent'
redis.call('HSET', KEYS[2], id, ARGV[2])
return id
