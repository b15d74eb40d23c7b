#!lua flags=allow-oom
-- Makes messages ready that wait for their time, before it, and ends the holds of the queue and of their groups.
-- KEYS  1… the queue
-- ARGV  1 nonce; 2 a JSON list of ids
-- Returns 1 for each that is ready now, else 0.
local q = queueAt(1)
if not isThere(q) then return missing(q) end
local ready = {}
for i, id in ipairs(cjson.decode(ARGV[2])) do
  local m = stateOf(q, id)
  local waits = (m.v or 0) > now
  ready[i] = 0
  if not (m.r and waits) and redis.call('ZSCORE', q.order, id) then
    ready[i] = 1
    endHolds(q, m)
    if waits then
      m.v = now
      save(q, id, m)
      if redis.call('ZSCORE', q.waiting, id) then
        redis.call('ZADD', q.waiting, now, id)
      else
        withdraw(q, id, m)
        offer(q, id, m, now)
      end
    end
    q.wakeNow = true
  end
end
finish(q)
return ready
