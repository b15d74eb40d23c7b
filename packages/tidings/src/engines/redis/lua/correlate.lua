#!lua flags=allow-oom
-- Tells a correlation of events of its tasks. An event that is told twice changes nothing.
-- KEYS  1 the correlation: started, completed, queue (for the message about the end), told (1 once that is stored); left:
--       how many tasks are not over;
--       'task <task>' → 'pending' or 'dead', the queue that it counts for, the one that has its message, and how often it
--       was moved, or 'gone';
--       'count <done|dead|cancelled> <queue>'; counts: of each at the completion
-- ARGV  1 the queue that is to be told, or ''; 2 for how many milliseconds a correlation is kept that is over; 3 a JSON
--       list of events: note, task, queue; done, cancelled or dead, task; moved, task, queue, 1 if it is dead there, how often
--       it was moved;
--       void, task: was not sent, and will not be
-- Returns nil, or, if the message about the end is not stored, its queue, the times of start and completion, and the counts.
local key = KEYS[1]
local keep = tonumber(ARGV[2])
local left = tonumber(redis.call('HGET', key, 'left') or '0')

local function count(state, queue, by)
  redis.call('HINCRBY', key, 'count ' .. state .. ' ' .. queue, by)
end

local function set(task, state, queue, holder, moves)
  redis.call('HSET', key, task, state .. ' ' .. queue .. ' ' .. holder .. ' ' .. moves)
end

local on = {}

function on.note(task, state, _, _, where)
  if state then return end
  set(task, 'pending', where, where, 0)
  left = left + 1
end

local function over(ending)
  on[ending] = function(task, state, queue)
    if state ~= 'pending' and state ~= 'dead' then return end
    redis.call('HDEL', key, task)
    if state == 'dead' then return end
    count(ending, queue, 1)
    left = left - 1
  end
end
over('done')
over('cancelled')
over('dead')

function on.moved(task, state, queue, told, to, dead, moves)
  if state ~= 'pending' and state ~= 'dead' then return end
  -- This move, or a later one, was told before.
  if moves <= told then return end
  local counted = dead == 1 and queue or to
  if state == 'dead' then count('dead', queue, -1) end
  if dead == 1 then count('dead', counted, 1) end
  if state == 'dead' and dead ~= 1 then left = left + 1 end
  if state ~= 'dead' and dead == 1 then left = left - 1 end
  set(task, dead == 1 and 'dead' or 'pending', counted, to, moves)
end

function on.void(task, state)
  if state == 'pending' then left = left - 1 end
  redis.call('HSET', key, task, 'gone')
end

local events = cjson.decode(ARGV[3])
for _, event in ipairs(events) do
  local task = 'task ' .. event[2]
  local state, queue, moves = string.match(redis.call('HGET', key, task) or '', '^(%S+) (%S+) %S+ (%d+)$')
  if not state and redis.call('HEXISTS', key, task) == 1 then state = 'gone' end
  if event[1] == 'note' then
    redis.call('HSETNX', key, 'started', now)
    if ARGV[1] ~= '' then redis.call('HSETNX', key, 'queue', ARGV[1]) end
  end
  on[event[1]](task, state, queue, tonumber(moves), event[3], event[4], event[5])
end

if left > 0 then
  redis.call('HSET', key, 'left', left)
  redis.call('PERSIST', key)
  return false
end

local totals = { done = 0, dead = 0, cancelled = 0 }
local hasTasks = false
local fields = redis.call('HGETALL', key)
for i = 1, #fields, 2 do
  local state = string.match(fields[i], '^count (%S+)')
  if state then
    totals[state] = totals[state] + tonumber(fields[i + 1])
    hasTasks = true
  end
end
redis.call('HDEL', key, 'left')
redis.call('PEXPIRE', key, keep)
if not hasTasks then
  -- No task was sent. Tasks that are gone stay known for a while.
  redis.call('HDEL', key, 'started', 'queue')
  return false
end
if redis.call('HSETNX', key, 'completed', now) == 1 then
  redis.call('HSET', key, 'counts', totals.done .. ' ' .. totals.dead .. ' ' .. totals.cancelled)
end
local found = redis.call('HMGET', key, 'queue', 'started', 'completed', 'counts', 'told')
if not found[1] or found[5] then return false end
return { found[1], found[2], found[3], found[4] }
