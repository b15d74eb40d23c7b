#!lua flags=allow-oom
-- Removes messages that are done; each lease stands for itself.
-- KEYS  1… the queue
-- ARGV  1 nonce; then for each message its id and its receipt
-- Returns as settle.lua.
local q = queueAt(1)
local ids = {}
for i = 2, #ARGV, 2 do ids[#ids + 1] = ARGV[i] end
local results, plain, seen = {}, {}, {}

-- Whether the packed state has this receipt, and besides it only what every message has that was read: when and how often, and
-- until when. To unpack it takes longer.
local function isPlainlyHeld(state, receipt)
  return state and string.byte(state) == 0x85 and string.find(state, '\161r' .. string.char(160 + #receipt % 32) .. receipt, 1, true)
end

for i, state in ipairs(readAll(q.state, ids)) do
  local id, receipt = ids[i], ARGV[2 * i + 1]
  local isPlain = isPlainlyHeld(state, receipt)
  local m = isPlain and {} or unpacked(state)
  local isHeld = (isPlain or m.r and m.r == receipt) and not seen[id]
  results[i] = isHeld and '+' or ''
  if isHeld then
    seen[id] = true
    if m.k or m.t or m.w or m.g or m.q then
      remove(q, id, m)
      postEnd(q, m, 'done')
    else
      plain[#plain + 1] = id
    end
  end
end
if not next(seen) and not isThere(q) then return missing(q) end
writeAll('HDEL', q.body, plain)
writeAll('HDEL', q.state, plain)
writeAll('ZREM', q.order, plain)
-- Those whose leases have run out are elsewhere, and still their last reader's.
if writeAll('ZREM', q.leased, plain) < #plain then
  writeAll('ZREM', q.ready, plain)
  writeAll('ZREM', q.delayed, plain)
end
finish(q)
return { results, q.posted }
