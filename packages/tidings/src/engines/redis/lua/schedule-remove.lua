#!lua
-- Removes a schedule.
-- KEYS  1 the schedules; 2 when they are due
-- ARGV  1 name; 2 only this revision, or ''
-- Returns 1 if it was there.
local there = string.match(redis.call('HGET', KEYS[1], ARGV[1]) or '', '^%S*')
if there == '' or (ARGV[2] ~= '' and there ~= ARGV[2]) then return 0 end
redis.call('HDEL', KEYS[1], ARGV[1])
redis.call('ZREM', KEYS[2], ARGV[1])
return 1
