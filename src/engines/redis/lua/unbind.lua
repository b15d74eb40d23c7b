#!lua flags=allow-oom
-- Removes routes of a queue.
-- KEYS  1 the routes
-- ARGV  1 pattern, or '' for all; 2 queue; 3 incarnation of the queue; 4 the next version
-- Returns how many.
local function isMeant(route, value)
  local pattern, queue = string.match(route, '^(%S+) (%S+)$')
  return queue == ARGV[2] and (ARGV[1] == '' or pattern == ARGV[1]) and string.match(value, ' (.*)') == ARGV[3]
end
local removed = 0
local routes = redis.call('HGETALL', KEYS[1])
for i = 1, #routes, 2 do
  if isMeant(routes[i], routes[i + 1]) then removed = removed + redis.call('HDEL', KEYS[1], routes[i]) end
end
if removed > 0 then
  redis.call('HSET', KEYS[1], 'version', ARGV[4])
  if redis.call('HLEN', KEYS[1]) == 1 then redis.call('DEL', KEYS[1]) end
end
return removed
