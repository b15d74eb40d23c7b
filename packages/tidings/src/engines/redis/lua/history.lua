-- Helpers for the history of queues. Of each queue, of each of its incarnations, and of the whole storage there is, for an hour, one
-- hash, which expires; so nothing has to be pruned.
--
-- <base>         hash: minute, gauges and total of the last note; of the whole storage: minute
-- <base>:<hour>  hash, with the minute of the hour: b<minute> 1 if somebody notes this minute; g<minute> ready, leased, delayed, since
--                when the oldest is ready or '-', and how many were sent; c<minute> done, failed, dead, and the classes of
--                latency, of which those at the end without one are left out

local function historyBase(meta, incarnation)
  return string.sub(meta, 1, -5) .. 'history:' .. incarnation
end

local function historyKey(base, minute)
  return base .. ':' .. math.floor(minute / 60)
end

local function thisMinute()
  return math.floor(now / 60000)
end

local function keep(key, ms)
  redis.call('PEXPIRE', key, ms)
end

-- Notes gauges, and how many were sent, which add up.
local function noteMinute(base, minute, gauges, sent, ms)
  local key, field = historyKey(base, minute), 'g' .. minute % 60
  local before = redis.call('HGET', key, field)
  if before then sent = sent + tonumber(string.match(before, '%d+$')) end
  redis.call('HSET', key, field, gauges .. ' ' .. sent)
  keep(key, ms)
end
