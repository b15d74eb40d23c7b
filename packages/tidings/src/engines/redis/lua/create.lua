#!lua flags=allow-oom
-- Creates the queue if it is missing. Memory may be full: a first dead letter may need its queue.
-- KEYS  1 meta
-- ARGV  1 incarnation: tells a queue from an earlier one of its name
-- Returns 1 if it was created now, and when it was created.
if redis.call('EXISTS', KEYS[1]) == 0 then
  redis.call('HSET', KEYS[1], 'created', now, 'incarnation', ARGV[1], 'sent', 0)
end
local found = redis.call('HMGET', KEYS[1], 'incarnation', 'created')
return { found[1] == ARGV[1] and 1 or 0, found[2] }
