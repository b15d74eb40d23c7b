#!lua
-- Adds a route. May be repeated with the same version.
-- KEYS  1 the routes: '<source> <target>' → '<time>-<version> <incarnations>', and their version, which every change
--       replaces. A source is a pattern or 't:<topic>', a target a queue or 't:<topic>'
-- ARGV  1 source; 2 target; 3 incarnation of the target and, if the source has one, of the source; 4 the next version
-- Returns 1 if it was added now.
local route = ARGV[1] .. ' ' .. ARGV[2]
local before = redis.call('HGET', KEYS[1], route)
if before and string.match(before, ' (.*)') == ARGV[3] then
  return string.match(before, '^%d+%-(%S+)') == ARGV[4] and 1 or 0
end
redis.call('HSET', KEYS[1], route, now .. '-' .. ARGV[4] .. ' ' .. ARGV[3])
changeRoutes(KEYS[1], ARGV[4])
return 1
