#!lua
-- Schedules, in no order, or those that are due, the earliest first.
-- KEYS  as in schedule-put.lua
-- ARGV  1 'all', 'due' or 'one'; 2 the name of the one; 3 the age from which on what is to be sent was left by a crash
-- Returns the time; '<revision> <record>' of each; and for those that are due in how many milliseconds to look again or
-- false, and what was left to be sent: revisions and messages in turn.
if ARGV[1] == 'one' then
  local found = redis.call('HGET', KEYS[1], ARGV[2])
  return { now, { found or nil }, false, {} }
end
if ARGV[1] == 'all' then return { now, redis.call('HVALS', KEYS[1]), false, {} } end
local found, left = {}, {}
for _, name in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now)) do
  table.insert(found, redis.call('HGET', KEYS[1], name))
end
local next_ = redis.call('ZRANGEBYSCORE', KEYS[2], '(' .. now, '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
local lookMs = next_[2] and tonumber(next_[2]) - now or false
if redis.call('HLEN', KEYS[3]) > 0 then
  local sending = redis.call('HGETALL', KEYS[3])
  for i = 1, #sending, 2 do
    local at, messages = string.match(sending[i + 1], '^(%d+) (.*)$')
    local waitMs = tonumber(at) + tonumber(ARGV[3]) - now
    if waitMs <= 0 then addPair(left, sending[i], messages) end
    if waitMs > 0 and (not lookMs or waitMs < lookMs) then lookMs = waitMs end
  end
end
return { now, found, lookMs, left }
