#!lua
-- Notes what lies in queues, of each unless it is as it was.
-- KEYS  1… the queues, one after the other
-- ARGV  1 minute; 2 the one that was noted before, or ''; 3 after how many minutes what is as it was is noted again;
--       4 for how many milliseconds it is kept
-- Returns of each ready, leased, delayed, since when the oldest is ready or false, and sent; false if there is no queue.
local minute, before = tonumber(ARGV[1]), tonumber(ARGV[2])

local function note(q)
  local meta = redis.call('HMGET', q.meta, 'incarnation', 'sent', 'created', 'settings', 'sharing')
  if not meta[1] then return false end
  local total = tonumber(meta[2])
  local ready, leased, delayed, since = gaugesOf(q, (meta[4] or meta[5]) and true)
  local gauges = ready .. ' ' .. leased .. ' ' .. delayed .. ' ' .. (since or '-')
  local base = historyBase(q.meta, meta[1])
  local last = redis.call('HMGET', base, 'minute', 'gauges', 'total')
  local sent = 0
  if last[1] then
    sent = math.max(0, total - tonumber(last[3]))
  elseif math.floor(tonumber(meta[3]) / 60000) >= (before or minute - 1) then
    -- What an older queue was sent before anybody looked belongs to no minute.
    sent = total
  end
  if not last[1] or sent > 0 or last[2] ~= gauges or minute - tonumber(last[1]) >= tonumber(ARGV[3]) then
    noteMinute(base, minute, gauges, sent, ARGV[4])
    redis.call('HSET', base, 'minute', minute, 'gauges', gauges, 'total', total)
    keep(base, ARGV[4])
  end
  return { ready, leased, delayed, since, sent }
end

local noted = {}
for i = 1, #KEYS / queueKeyCount do noted[i] = note(queueAt((i - 1) * queueKeyCount + 1)) end
return noted
