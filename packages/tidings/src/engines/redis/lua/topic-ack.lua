#!lua flags=allow-oom
-- Moves the cursor forward.
-- KEYS  1… the topic
-- ARGV  1 name; 2 offset; 3 receipt, or nothing for an acknowledgement without a hold
-- Returns 0 if the receipt was stale.
local t = topicAt(1)
if not look(t) then return missing(t) end
local s = subscriptionOf(t, ARGV[1])
if not s then return noSubscription(t, ARGV[1]) end
if ARGV[3] and s.r ~= ARGV[3] then return 0 end
local cursor = math.min(tonumber(ARGV[2]), t.last)
if cursor > s.c then moveTo(t, ARGV[1], s, cursor) end
return 1
