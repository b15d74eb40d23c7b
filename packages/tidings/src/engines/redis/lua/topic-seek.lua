#!lua flags=allow-oom
-- Moves the cursor of the subscription, or of all, and makes receipts stale; or tells only what it would do.
-- KEYS  1… the topic
-- ARGV  1 name, or '' for all; 2 position, as JSON; 3 1 to move nothing
-- Returns for each its name, and from and to which cursor it is moved.
local t = topicAt(1)
if not look(t) then return missing(t) end
local position = cjson.decode(ARGV[2])
local names = ARGV[1] == '' and redis.call('HKEYS', t.subscriptions) or { ARGV[1] }
local moves = {}
for i, name in ipairs(names) do
  local s = subscriptionOf(t, name)
  if not s then return noSubscription(t, name) end
  moves[i] = { name, s.c, cursorAt(t, position, s.c) }
  if ARGV[3] ~= '1' then
    s.r, s.p = nil, nil
    moveTo(t, name, s, moves[i][3])
  end
end
if ARGV[3] ~= '1' then wakeReaders(t) end
return moves
