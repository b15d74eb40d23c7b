#!lua flags=allow-oom
-- Moves the cursor of the subscription, or of all, and makes receipts stale.
-- KEYS  1… the topic
-- ARGV  1 name, or '' for all; 2 position, as JSON
-- Returns how many subscriptions were moved.
local t = topicAt(1)
if not look(t) then return missing(t) end
local position = cjson.decode(ARGV[2])
local names = ARGV[1] == '' and redis.call('HKEYS', t.subscriptions) or { ARGV[1] }
for _, name in ipairs(names) do
  local s = subscriptionOf(t, name)
  if not s then return noSubscription(t, name) end
  s.r, s.p = nil, nil
  moveTo(t, name, s, cursorAt(t, position, s.c))
end
wakeReaders(t)
return #names
