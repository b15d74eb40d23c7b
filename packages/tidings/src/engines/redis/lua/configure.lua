#!lua flags=allow-oom
-- Changes the settings of a queue, if they are still those that the change was made to, and tells who listens.
-- KEYS  1… the queue
-- ARGV  1 the settings that were read, as JSON, or ''; 2 the new ones, or ''; 3 1 where limits are changed: what they held
--       back is looked at anew, and holds end; 4 until when it is paused, 'inf', or ''
-- Returns 1, or 0 if they are others by now.
local q = queueAt(1)
local known = redis.call('HMGET', q.meta, 'incarnation', 'settings', 'sharing')
if not known[1] then return missing(q) end
if (known[2] or '') ~= ARGV[1] then return 0 end
if ARGV[2] == '' then
  redis.call('HDEL', q.meta, 'settings')
else
  redis.call('HSET', q.meta, 'settings', ARGV[2])
end
if ARGV[4] == '' then
  redis.call('HDEL', q.meta, 'paused')
else
  redis.call('HSET', q.meta, 'paused', ARGV[4])
end
if ARGV[3] == '1' then
  for _, name in ipairs(redis.call('ZRANGE', shareKey(q, 'gates'), 0, -1)) do
    if string.sub(name, 1, 4) == 'hold' then redis.call('ZREM', shareKey(q, 'gates'), name) end
  end
  reopenDue(q, '+inf', -1)
end
redis.call('SPUBLISH', shareKey(q, 'wake'), 'changed')
return 1
