#!lua flags=no-writes
-- The state of subscriptions.
-- KEYS  1… the topic
-- ARGV  1 the name of one, or '' for all
-- Returns for each name, cursor, lag, missed, createdAt, movedAt or false, consumer or false.
local t = topicAt(1)
if not look(t) then return missing(t) end
local names = ARGV[1] == '' and redis.call('HKEYS', t.subscriptions) or { ARGV[1] }
local states = {}
for i, name in ipairs(names) do
  local s = subscriptionOf(t, name)
  if not s then return noSubscription(t, name) end
  local isHeld = s.u and s.u > now
  states[i] = {
    name, s.c, t.last - math.max(s.c, t.base), math.max(t.base - s.c, 0), s.a, s.m or false, isHeld and s.h or false,
  }
end
return states
