#!lua flags=allow-oom
-- Removes all routes to a queue or topic that is gone, and from it.
-- KEYS  1 the routes
-- ARGV  1 the queue or topic, as in bind.lua; 2 its incarnation; 3 the next version
-- Returns how many.
local removed = 0
local routes = redis.call('HGETALL', KEYS[1])
for i = 1, #routes, 2 do
  local source, target = string.match(routes[i], '^(%S+) (%S+)$')
  local targets, sources = string.match(routes[i + 1], '^%S+ (%S+) ?(%S*)$')
  local isMeant = (target == ARGV[1] and targets == ARGV[2]) or (source == ARGV[1] and sources == ARGV[2])
  if isMeant then removed = removed + redis.call('HDEL', KEYS[1], routes[i]) end
end
if removed > 0 then changeRoutes(KEYS[1], ARGV[3]) end
return removed
