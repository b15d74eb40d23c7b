#!lua flags=allow-oom
-- Makes the consumer the active one of the subscription, or renews its hold.
-- KEYS  1… the topic
-- ARGV  1 nonce: the receipt, if it is a new one; 2 name; 3 consumer; 4 lease in milliseconds; 5 the token of the process
--       with which the hold ends, or ''
-- Returns the receipt, the cursor and how many vanished before; or false, and in how many milliseconds the subscription
-- may be free.
local t = topicAt(1)
if not look(t) then return missing(t) end
local s = subscriptionOf(t, ARGV[2])
if not s then return noSubscription(t, ARGV[2]) end
local isNew = s.h ~= ARGV[3]
if isNew and s.u and s.u > now then return { false, s.u - now } end
local position = math.max(s.c, t.base)
if s.p ~= position then s.v, s.p = 0, position end
-- A consumer that has left has no time in u.
if isNew and s.u and position < t.last then s.v = s.v + 1 end
if isNew or not s.r then s.r = ARGV[1] end
s.h, s.u, s.t = ARGV[3], now + tonumber(ARGV[4]), nil
if ARGV[5] ~= '' then
  s.t = ARGV[5]
  if redis.call('HGET', t.meta, holderField(s.t)) == false then redis.call('HSET', t.meta, holderField(s.t), now) end
end
saveSubscription(t, ARGV[2], s)
return { s.r, s.c, s.v }
