#!lua flags=allow-oom
-- Leases messages that are ready: by priority, then oldest first.
-- KEYS  1… the queue
-- ARGV  1 nonce, the start of the receipts; 2 limit; 3 lease in milliseconds; 4 a JSON list of the only ids, or '';
--       5 '1' for a repetition after a lost answer, which returns the same messages, or ''
-- Returns the messages, and in how many milliseconds the next one is due, or false.
local q = queueAt(1)
if not isThere(q) then return missing(q) end
local limit = tonumber(ARGV[2])
local visible = now + tonumber(ARGV[3])

-- The messages that were leased with this nonce, at most a minute ago, in their order.
local function leasedBefore()
  local found = {}
  local ids = redis.call('ZRANGE', q.leased, visible, visible - 60000, 'BYSCORE', 'REV', 'LIMIT', 0, 10000)
  for i, state in ipairs(readAll(q.state, ids)) do
    local m = unpacked(state)
    if m.r and m.v > now and string.sub(m.r, 1, #ARGV[1] + 1) == ARGV[1] .. '-' then
      table.insert(found, { m.r, row(ids[i], redis.call('HGET', q.body, ids[i]), m) })
    end
  end
  table.sort(found, function(a, b) return a[1] < b[1] end)
  local messages = {}
  for i, each in ipairs(found) do messages[i] = each[2] end
  return messages
end

local function lease()
  ripen(q, math.max(1000, limit))
  if ARGV[4] ~= '' then ripenThese(q, cjson.decode(ARGV[4])) end
  local ids = pick(q, limit, ARGV[4])
  local states, bodies = readAll(q.state, ids), readAll(q.body, ids)
  local messages, saved, leased = {}, {}, {}
  for i, id in ipairs(ids) do
    local m = unpacked(states[i])
    noteRead(m)
    m.v = visible
    m.r = ARGV[1] .. '-' .. base36(i, 3)
    addPair(saved, id, cmsgpack.pack(m))
    addPair(leased, visible, id)
    messages[i] = row(id, bodies[i], m)
  end
  writeAll('HSET', q.state, saved)
  writeAll('ZREM', q.ready, ids)
  writeAll('ZADD', q.leased, leased)
  return messages
end

local messages = ARGV[5] ~= '' and leasedBefore() or {}
if #messages == 0 then messages = lease() end
local dueMs
for _, set in ipairs({ q.delayed, q.leased }) do
  local soonest = redis.call('ZRANGE', set, 0, 0, 'WITHSCORES')[2]
  if soonest then dueMs = math.min(dueMs or math.huge, math.max(1, tonumber(soonest) - now)) end
end
return { messages, dueMs or false }
