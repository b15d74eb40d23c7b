#!lua flags=allow-oom
-- Removes a route.
-- KEYS  1 the routes
-- ARGV  1 source; 2 target; 3 incarnations, as in bind.lua; 4 the next version
-- Returns 1 if there was one.
local route = ARGV[1] .. ' ' .. ARGV[2]
local found = redis.call('HGET', KEYS[1], route)
if not found or string.match(found, ' (.*)') ~= ARGV[3] then return 0 end
redis.call('HDEL', KEYS[1], route)
changeRoutes(KEYS[1], ARGV[4])
return 1
