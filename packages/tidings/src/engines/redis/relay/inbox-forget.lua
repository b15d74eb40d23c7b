#!lua flags=allow-oom
-- Forgets deliveries whose entries are gone from their outboxes, and moves the mark of the inbox: an entry that was made no
-- later may be one of them, see `doubtful` in relay.lua.
-- KEYS  1 meta of the queue or the topic; 2 its inbox
-- ARGV  the delivery ids
local before = forgottenUpTo(KEYS[1])
if not before then return end
-- The mark differs after every forgetting.
local mark = before + 1
local count = 0
for _, delivery in ipairs(ARGV) do
  count = count + redis.call('HDEL', KEYS[2], delivery)
  mark = math.max(mark, timeOf(delivery))
end
if count > 0 then redis.call('HSET', KEYS[1], 'forgotten', mark) end
