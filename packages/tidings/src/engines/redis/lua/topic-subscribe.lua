#!lua
-- Creates the subscription if it is missing. May be repeated with the same nonce.
-- KEYS  1… the topic
-- ARGV  1 name; 2 position, as JSON; 3 nonce
-- Returns 1 if it was created now.
local t = topicAt(1)
if not look(t) then return missing(t) end
local before = subscriptionOf(t, ARGV[1])
if before then return before.i == ARGV[3] and 1 or 0 end
local s = { i = ARGV[3], c = cursorAt(t, cjson.decode(ARGV[2]), t.last), a = now }
saveSubscription(t, ARGV[1], s)
showCursor(t, ARGV[1], s)
return 1
