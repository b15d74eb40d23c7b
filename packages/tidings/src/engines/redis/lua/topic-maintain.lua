#!lua flags=allow-oom
-- Forgets what has expired, removes what retention asks for, and finds what was left in the outbox and in the inbox.
-- KEYS  1… the topic
-- ARGV  1 to 5 as in maintain.lua; 6 how many messages are removed at most
-- Returns 1 if the topic exists, 1 if there is more to forget or to remove, and the rest as in maintain.lua.
local t = topicAt(1)
local isThere = look(t)
local more = forgetDedup(t, 1000)

-- The lowest cursor; nothing counts as read while there is no subscription.
local function readByAll()
  local lowest
  for _, packed in ipairs(redis.call('HVALS', t.subscriptions)) do
    local cursor = cmsgpack.unpack(packed).c
    lowest = math.min(lowest or cursor, cursor)
  end
  return lowest or 0
end

-- The last offset that has to go.
local function lastToGo()
  local retention = redis.call('HMGET', t.meta, 'age', 'size', 'read')
  local age, size = tonumber(retention[1]), tonumber(retention[2])
  local last = t.base
  if retention[3] == '1' then last = math.max(last, readByAll()) end
  if age then last = math.max(last, firstWith(t, 'at', now - age) - 1) end
  if size and t.bytes - t.gone > size then last = math.max(last, firstWith(t, 'bytes', t.bytes - size)) end
  return last
end

if isThere and t.last > t.base then
  local wanted = lastToGo()
  local last = math.min(wanted, t.base + tonumber(ARGV[6]))
  if last > t.base then
    redis.call('HSET', t.meta, 'base', last, 'gone', fieldAt(t, last, 'bytes'))
    redis.call('XTRIM', t.log, 'MINID', idOf(last + 1))
  end
  more = more or last < wanted
end
local left, followingLeft = leftEntries(t, ARGV[1], ARGV[2], ARGV[4])
local old, followingOld = oldDeliveries(t, ARGV[3], ARGV[5])
return { isThere and 1 or 0, more and 1 or 0, left, old, followingLeft, followingOld }
