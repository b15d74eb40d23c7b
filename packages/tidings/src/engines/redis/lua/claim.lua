#!lua flags=allow-oom
-- Leases messages that are ready: by priority, then oldest first; where something is shared, see sharing.lua, in turns.
-- KEYS  1… the queue
-- ARGV  1 nonce, the start of the receipts: after the token of the process that holds the leases, if one does; 2 limit;
--       3 lease in milliseconds; 4 a JSON list of the only ids, or ''; 5 how many of the limit, the last in order, are read
--       ahead; 6 how many bytes the messages may have, or ''; 7 how many answers to this claim were lost: what it has leased
--       then is returned
-- Returns the messages, of a plain unread one its id, body and receipt; in how many milliseconds the next one is due: 0 if some
-- were left out for their bytes; or false; 1 if limits or holds keep some back; and the time.
local q = queueAt(1)
local nonce, limit, leaseMs, lost = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[7])
local token = #nonce == 20 and string.sub(nonce, 1, 8)
local known = redis.call('HMGET', q.meta, 'incarnation', token and holderField(token) or '', 'settings', 'sharing', 'paused')
if not known[1] then return missing(q) end
if isOvertaken(q, nonce, lost) then return { {}, false } end

local function leasedBefore()
  local found = {}
  local ids, states = leasedWith(q, nonce, leaseMs, 60000)
  for i, m in ipairs(states) do
    found[i] = { string.sub(m.r, -3), row(ids[i], redis.call('HGET', q.body, ids[i]), m) }
  end
  table.sort(found, function(a, b) return a[1] < b[1] end)
  local messages = {}
  for i, each in ipairs(found) do messages[i] = each[2] end
  return messages
end

-- The bodies of the first messages that have no more bytes together, or of one. Hardly more than these are read: the next
-- ones are taken to be as large as the largest before.
local function bodiesWithin(most, ids, states)
  local bodies, bytes, largest = {}, 0, most
  while #bodies < #ids do
    local count = math.max(1, math.min(math.floor((most - bytes) / largest), atOnce, #ids - #bodies))
    for _, body in ipairs(redis.call('HMGET', q.body, unpack(ids, #bodies + 1, #bodies + count))) do
      local size = #body + #(states[#bodies + 1] or '')
      if #bodies > 0 and bytes + size > most then return bodies end
      largest = #bodies > 0 and math.max(largest, size) or size
      bytes = bytes + size
      bodies[#bodies + 1] = body
    end
  end
  return bodies
end

local due = ripen(q, math.max(1000, limit))
local leftOut, heldBack = false, false
local sharing = (known[3] or known[4]) and sharingOf(known[3], known[4])

-- Ids, and their states packed. With limits nothing is read ahead.
local function choose()
  if ARGV[4] ~= '' then ripenThese(q, cjson.decode(ARGV[4])) end
  if not sharing then
    local ids = pick(q, limit, ARGV[4])
    return ids, readAll(q.state, ids)
  end
  local most = #sharing.limits > 0 and limit - tonumber(ARGV[5]) or limit
  local selected = selectNext(q, sharing, most, ARGV[4])
  heldBack = selected.heldBack or most < limit and countReady(q) > #selected.ids
  return selected.ids, readAll(q.state, selected.ids), selected
end

-- The packed state of a plain message that is read for the first time, up to its receipt and from there: they differ in nothing else.
local function readPlain(visible)
  local m = { v = visible, r = nonce .. '-000' }
  noteRead(m)
  local packed = cmsgpack.pack(m)
  local from, to = string.find(packed, m.r, 1, true)
  return string.sub(packed, 1, from - 1), string.sub(packed, to + 1)
end

local function lease()
  local ids, states, selected = choose()
  local bodies = ARGV[6] == '' and readAll(q.body, ids) or bodiesWithin(tonumber(ARGV[6]), ids, states)
  leftOut = #bodies < #ids
  local visible = now + leaseMs
  local begun = token and limit - tonumber(ARGV[5]) or limit
  local messages, saved, taken, leased, slots = {}, {}, {}, {}, {}
  local beforeReceipt, afterReceipt = readPlain(visible)
  for i, body in ipairs(bodies) do
    local id = ids[i]
    local receipt = nonce .. (i <= begun and '-' or '_') .. base36(i, 3)
    local state
    if states[i] or sharing then
      local m = unpacked(states[i])
      noteRead(m)
      m.v = visible
      m.q = sharing and sharing.hasSlots and 1 or nil
      m.r = receipt
      state = cmsgpack.pack(m)
      if m.g then addPair(slots, 0, lineOf(m.g) .. id) end
      messages[i] = row(id, body, m)
    else
      state = beforeReceipt .. receipt .. afterReceipt
      messages[i] = { id, body, receipt }
    end
    saved[2 * i - 1], saved[2 * i] = id, state
    leased[2 * i - 1], leased[2 * i] = visible, id
    taken[i] = id
  end
  if #taken > 0 then due = math.min(due or visible, visible) end
  writeAll('HSET', q.state, saved)
  writeAll('ZADD', q.leased, leased)
  if selected then
    writeAll('ZADD', shareKey(q, 'slots'), slots)
    chargeTaken(q, sharing, selected, #taken)
  else
    writeAll('ZREM', q.ready, taken)
  end
  if token and not known[2] and #taken > 0 then redis.call('HSET', q.meta, holderField(token), now) end
  return messages
end

local messages = lost > 0 and leasedBefore() or {}
if #messages == 0 and isPaused(known[5]) then
  return { {}, known[5] ~= 'inf' and tonumber(known[5]) - now, 0, now }
end
if #messages == 0 then messages = lease() end
if leftOut then return { messages, 0, 0, now } end
local opens = sharing and firstOpening(q)
if opens then due = math.min(due or opens, opens) end
return { messages, due and math.max(1, due - now) or false, heldBack and 1 or 0, now }
