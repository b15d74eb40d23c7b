#!lua
-- Creates the topic if it is missing, and sets what is given.
-- KEYS  1 meta
-- ARGV  1 incarnation: tells a topic from an earlier one of its name; then names and values of settings
-- Returns 1 if it was created now, and when it was created.
if redis.call('EXISTS', KEYS[1]) == 0 then
  redis.call('HSET', KEYS[1], 'created', now, 'incarnation', ARGV[1])
end
for i = 2, #ARGV, 2 do redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1]) end
local found = redis.call('HMGET', KEYS[1], 'incarnation', 'created')
return { found[1] == ARGV[1] and 1 or 0, found[2] }
