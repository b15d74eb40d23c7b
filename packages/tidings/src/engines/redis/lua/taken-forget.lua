#!lua flags=allow-oom
-- Forgets that parcels came, which their senders have removed. What was made no later than one that is forgotten may be
-- one of them: see `doubtful` in common.lua.
-- KEYS  1 meta of the queue or the topic; 2 taken
-- ARGV  the parcels
local found = redis.call('HMGET', KEYS[1], 'forgotten', 'created')
local before = tonumber(found[1] or found[2])
if not before then return end
-- Differs with every time.
local upTo = before + 1
local count = 0
for _, parcel in ipairs(ARGV) do
  count = count + redis.call('HDEL', KEYS[2], parcel)
  upTo = math.max(upTo, timeOf(parcel))
end
if count > 0 then redis.call('HSET', KEYS[1], 'forgotten', upTo) end
