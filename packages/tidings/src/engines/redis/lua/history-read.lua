#!lua flags=no-writes
-- KEYS  1 meta of the queue, or the base of the whole storage
-- ARGV  1 'queue' or 'all'; 2 and 3 the first and the last hour
-- Returns the time, and hours with their fields and values, in turn.
local base = KEYS[1]
if ARGV[1] == 'queue' then
  local incarnation = redis.call('HGET', base, 'incarnation')
  if not incarnation then return missing({ meta = base }) end
  base = historyBase(base, incarnation)
end
local found = {}
for hour = tonumber(ARGV[2]), tonumber(ARGV[3]) do
  local fields = redis.call('HGETALL', base .. ':' .. hour)
  if #fields > 0 then addPair(found, hour, fields) end
end
return { now, found }
