#!lua flags=no-writes
-- Which of these queues have something for upkeep to see to.
-- KEYS  of each queue meta, then of each windows, inbox and outbox
-- Returns their numbers, from 0 on.
local queues = #KEYS / 4
local isQuiet = redis.call('EXISTS', unpack(KEYS, 1, queues)) == queues and redis.call('EXISTS', unpack(KEYS, queues + 1)) == 0
local found = {}
for i = 0, isQuiet and -1 or queues - 1 do
  local others = queues + 3 * i
  local isThere = redis.call('EXISTS', KEYS[i + 1]) == 1
  if not isThere or redis.call('EXISTS', KEYS[others + 1], KEYS[others + 2], KEYS[others + 3]) > 0 then
    found[#found + 1] = i
  end
end
return found
