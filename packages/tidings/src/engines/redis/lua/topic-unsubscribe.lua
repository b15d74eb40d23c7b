#!lua flags=allow-oom
-- Removes the subscription.
-- KEYS  1… the topic
-- ARGV  1 name
-- Returns 1 if there was one.
local t = topicAt(1)
if not look(t) then return missing(t) end
redis.pcall('XGROUP', 'DESTROY', t.log, ARGV[1])
return redis.call('HDEL', t.subscriptions, ARGV[1])
