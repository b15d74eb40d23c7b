#!lua
-- Adds a route.
-- KEYS  1 the routes: '<pattern> <queue>' → '<time> <incarnation>', and their version, which every change replaces
-- ARGV  1 pattern; 2 queue; 3 incarnation of the queue; 4 the next version
-- Returns 1 if it was added now.
local route = ARGV[1] .. ' ' .. ARGV[2]
local before = redis.call('HGET', KEYS[1], route)
if before and string.match(before, ' (.*)') == ARGV[3] then return 0 end
redis.call('HSET', KEYS[1], route, now .. ' ' .. ARGV[3], 'version', ARGV[4])
return 1
