#!lua flags=allow-oom
-- Removes archived messages, by the time of archiving.
-- KEYS  1… the queue
-- ARGV  1 those archived for longer than so many milliseconds, or ''; 2 those beyond this number, or ''; 3 at most so many
-- Returns how many.
local q = queueAt(1)
if not isThere(q) then return missing(q) end
local most = tonumber(ARGV[3])
local count = 0
if ARGV[2] ~= '' then count = redis.call('ZCARD', q.shelf) - tonumber(ARGV[2]) end
if ARGV[1] ~= '' then
  count = math.max(count, redis.call('ZCOUNT', q.shelf, '-inf', '(' .. string.format('%.0f', now - tonumber(ARGV[1]))))
end
count = math.min(count, most)
if count <= 0 then return 0 end
for _, id in ipairs(redis.call('ZRANGE', q.shelf, 0, count - 1)) do
  redis.call('ZREM', q.shelf, id)
  redis.call('ZREM', q.archive, id)
  redis.call('HDEL', q.archived, id)
end
return count
