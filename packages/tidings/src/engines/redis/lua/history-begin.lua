#!lua
-- Takes this minute for the caller, who notes all queues then.
-- KEYS  1 the base of the whole storage
-- ARGV  1 for how many milliseconds it is kept
-- Returns the minute, and the last one before it that was noted or false; nothing if somebody else has taken it.
local minute = thisMinute()
local key = historyKey(KEYS[1], minute)
if redis.call('HSETNX', key, 'b' .. minute % 60, 1) == 0 then return false end
keep(key, ARGV[1])
local before = tonumber(redis.call('HGET', KEYS[1], 'minute') or '')
return { minute, before and before < minute and before or false }
