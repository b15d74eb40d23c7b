#!lua flags=allow-oom
-- Ends a hold.
-- KEYS  1… the topic
-- ARGV  1 name; 2 receipt
-- Returns 0 if the receipt was stale.
local t = topicAt(1)
if not look(t) then return missing(t) end
local s = subscriptionOf(t, ARGV[1])
if not s then return noSubscription(t, ARGV[1]) end
if s.r ~= ARGV[2] then return 0 end
s.u = nil
saveSubscription(t, ARGV[1], s)
wakeReaders(t)
return 1
