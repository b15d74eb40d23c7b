#!lua flags=allow-oom
-- Tells a correlation of events of its tasks. An event that is told twice changes nothing.
-- KEYS  1 the correlation: started; when a milestone was reached for the first time: failed, done, completed; queue (which is
--       told of them), wanted (of which); 'tell <milestone>' until its message is stored: the time, and the counts of done, dead
--       and cancelled tasks then; left: how many tasks are not over;
--       'task <task>' → 'pending' or 'dead', the queue that it counts for, the one that has its message, and how often it
--       was moved, or 'gone';
--       'count <done|dead|cancelled> <queue>'
-- ARGV  1 the queue that is to be told, or '', and of which milestones, separated by spaces; 2 for how many milliseconds a correlation is kept that is over; 3 a JSON
--       list of events: note, task, queue; done, cancelled or dead, task; moved, task, queue, 1 if it is dead there, how often
--       it was moved;
--       void, task: was not sent, and will not be
-- Returns nil, or, if there are messages about milestones that are not stored, the queue, the time of the start, and for each
--       the milestone and its 'tell'.
local key = KEYS[1]
local keep = tonumber(ARGV[2])
local left = tonumber(redis.call('HGET', key, 'left') or '0')
local anyDied = false

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
    anyDied = anyDied or ending == 'dead'
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
  if dead == 1 then
    count('dead', counted, 1)
    anyDied = true
  end
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
    local named, wanted = string.match(ARGV[1], '^(%S+) (.+)$')
    if named and redis.call('HSETNX', key, 'queue', named) == 1 then redis.call('HSET', key, 'wanted', wanted) end
  end
  on[event[1]](task, state, queue, tonumber(moves), event[3], event[4], event[5])
end

local totals
local function total()
  if totals then return totals end
  totals = { done = 0, dead = 0, cancelled = 0, all = 0 }
  local fields = redis.call('HGETALL', key)
  for i = 1, #fields, 2 do
    local state = string.match(fields[i], '^count (%S+)')
    if state then
      totals[state] = totals[state] + tonumber(fields[i + 1])
      totals.all = totals.all + 1
    end
  end
  return totals
end

local wanted = redis.call('HGET', key, 'wanted')

local function reach(milestone, field)
  if redis.call('HSETNX', key, field, now) == 0 or not wanted then return end
  if not string.find(' ' .. wanted .. ' ', ' ' .. milestone .. ' ', 1, true) then return end
  local counts = total()
  local text = now .. ' ' .. counts.done .. ' ' .. counts.dead .. ' ' .. counts.cancelled
  redis.call('HSET', key, 'tell ' .. milestone, text)
end

if anyDied then reach('anyFailed', 'failed') end
if left > 0 then
  redis.call('HSET', key, 'left', left)
  redis.call('PERSIST', key)
else
  redis.call('HDEL', key, 'left')
  redis.call('PEXPIRE', key, keep)
  local counts = total()
  if counts.all == 0 then
    -- No task was sent. Tasks that are gone stay known for a while.
    redis.call('HDEL', key, 'started', 'queue', 'wanted')
    return false
  end
  if counts.dead == 0 and counts.cancelled == 0 then reach('allDone', 'done') end
  reach('allEnded', 'completed')
end

if not wanted then return false end
local milestones = { 'anyFailed', 'allDone', 'allEnded' }
local untold = redis.call('HMGET', key, 'tell anyFailed', 'tell allDone', 'tell allEnded')
local answer = { redis.call('HGET', key, 'queue'), redis.call('HGET', key, 'started') }
for i = 1, 3 do
  if untold[i] then
    answer[#answer + 1] = milestones[i]
    answer[#answer + 1] = untold[i]
  end
end
return #answer > 2 and answer
