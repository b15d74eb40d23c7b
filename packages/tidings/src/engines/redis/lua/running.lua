#!lua flags=no-writes
-- Which tasks have a message that is leased.
-- KEYS  1… the queue
-- ARGV  1 a JSON list of tasks
-- Returns 1 for each of them, else 0.
local q = queueAt(1)
local running = {}
for i, task in ipairs(cjson.decode(ARGV[1])) do
  local id = redis.call('HGET', q.tasks, task)
  local m = id and stateOf(q, id) or {}
  running[i] = m.r and m.v > now and 1 or 0
end
return running
