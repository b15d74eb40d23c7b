#!lua flags=allow-oom
-- Makes leases last from now. May be repeated with the same nonce.
-- KEYS  1… the queue
-- ARGV  1 nonce, the start of the new receipts; 2 lease in milliseconds; 3 a JSON list of id, receipt, and 1 where the reader knows that it was
--       asked to cancel the message
-- Returns the new receipts; false where the lease was lost or has run out.
local q = queueAt(1)
if not isThere(q) then return missing(q) end
local visible = now + tonumber(ARGV[2])
local receipts = {}
for i, lease in ipairs(cjson.decode(ARGV[3])) do
  local id = lease[1]
  local m = stateOf(q, id)
  local fresh = ''
  if m.r then
    local token = holderIn(m.r)
    fresh = (token or '') .. ARGV[1] .. (token and isAhead(m.r) and '_' or '-') .. base36(i, 3)
  end
  local isHeld = m.r and (m.r == lease[2] or m.r == fresh) and m.v > now
  if lease[3] ~= 1 and m.m and m.m.cancel_requested_at then isHeld = false end
  if isHeld then
    m.v, m.r = visible, fresh
    save(q, id, m)
    redis.call('ZADD', q.leased, visible, id)
  end
  receipts[i] = isHeld and fresh or false
end
return receipts
