#!lua
-- Stores a schedule in the place of another revision of it. May be repeated with the same revision.
-- KEYS  1 the schedules: name → '<revision> <record>'; 2 when they are due; 3 what is still to be sent: the revision that
--       sends it → '<time> <messages>'
-- ARGV  1 name; 2 revision; 3 record; 4 when it is due, or ''; 5 the revision before, or ''; 6 what is to be sent, or ''
-- Returns 1 if it is there now, 2 if it was before, 0 if another revision is there.
local there = string.match(redis.call('HGET', KEYS[1], ARGV[1]) or '', '^%S*')
if there == ARGV[2] then return 2 end
if there ~= ARGV[5] then return 0 end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2] .. ' ' .. ARGV[3])
if ARGV[4] == '' then
  redis.call('ZREM', KEYS[2], ARGV[1])
else
  redis.call('ZADD', KEYS[2], ARGV[4], ARGV[1])
  redis.call('SPUBLISH', KEYS[1] .. ':wake', tostring(math.max(0, tonumber(ARGV[4]) - now)))
end
if ARGV[6] ~= '' then redis.call('HSET', KEYS[3], ARGV[2], now .. ' ' .. ARGV[6]) end
return 1
