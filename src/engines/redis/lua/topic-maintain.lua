#!lua flags=allow-oom
-- Forgets what has expired, removes what retention asks for, and finds parcels that nobody took to where they belong.
-- KEYS  1… the topic
-- ARGV  1 to 3 as in maintain.lua; 4 how many messages are removed at most
-- Returns 1 if the topic exists, whether there is more to forget or to remove, how many parcels there are, the old ones,
-- and those that came so long ago.
local t = topicAt(1)
local isThere = look(t)
local more = forgetDedup(t, 1000)
local old = oldTaken(t, ARGV[3])

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
  local last = math.min(wanted, t.base + tonumber(ARGV[4]))
  if last > t.base then
    redis.call('HSET', t.meta, 'base', last, 'gone', fieldAt(t, last, 'bytes'))
    redis.call('XTRIM', t.log, 'MINID', idOf(last + 1))
  end
  more = more or last < wanted
end
local left, count = leftParcels(t, ARGV[1], ARGV[2])
return { isThere and 1 or 0, more and 1 or 0, count, left, old }
