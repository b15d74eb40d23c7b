#!lua
-- Says which tasks are going to be sent. Whoever finds an intent that is old takes them back.
-- KEYS  1 meta of the queue or the topic; 2 its outbox
-- ARGV  1 nonce; 2 the tasks, as a parcel
-- Returns the intent.
if redis.call('EXISTS', KEYS[1]) == 0 then return redis.error_reply('MISSING ' .. KEYS[1]) end
local id = base36(now, 9) .. '-' .. ARGV[1] .. '-intent'
redis.call('HSET', KEYS[2], id, ARGV[2])
return id
