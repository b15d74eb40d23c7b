#!lua
-- Notes the sums of all queues.
-- KEYS  1 the base of the whole storage
-- ARGV  1 minute; 2 gauges; 3 sent; 4 for how many milliseconds it is kept
local minute = tonumber(ARGV[1])
noteMinute(KEYS[1], minute, ARGV[2], tonumber(ARGV[3]), ARGV[4])
if minute <= thisMinute() then
  redis.call('HSET', KEYS[1], 'minute', minute)
  keep(KEYS[1], ARGV[4])
end
