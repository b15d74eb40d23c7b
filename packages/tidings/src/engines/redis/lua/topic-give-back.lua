#!lua flags=allow-oom
-- Ends the holds of processes that are gone, one part of the subscriptions after the other: as give-back.lua does for a queue.
-- KEYS  1… the topic
-- ARGV  as for give-back.lua
-- Returns the same.
local t = topicAt(1)
local gone = goneOf(t.meta, { unpack(ARGV, 4) })
local isGone = {}
for _, token in ipairs(gone) do isGone[token] = true end
if #gone == 0 then return { '', gone } end

local subscriptions, following = scan(t.subscriptions, ARGV[2], ARGV[3])
local isFree = false
for i = 1, #subscriptions, 2 do
  local s = cmsgpack.unpack(subscriptions[i + 1])
  if s.t and isGone[s.t] and s.u and s.u > now then
    s.u, s.t = now, nil
    saveSubscription(t, subscriptions[i], s)
    isFree = true
  end
end
if isFree then wakeReaders(t) end
if following == '' then
  for _, token in ipairs(gone) do redis.call('HDEL', t.meta, holderField(token)) end
end
return { following, gone }
