#!lua
-- Creates the subscription if it is missing.
-- KEYS  1… the topic
-- ARGV  1 name; 2 position, as JSON
-- Returns 1 if it was created now.
local t = topicAt(1)
if not look(t) then return noTopic(t) end
if subscriptionOf(t, ARGV[1]) then return 0 end
local s = { c = cursorAt(t, cjson.decode(ARGV[2]), t.last), a = now }
saveSubscription(t, ARGV[1], s)
showCursor(t, ARGV[1], s)
return 1
