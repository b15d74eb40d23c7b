#!lua flags=allow-oom
-- Ends leases; each settlement stands for itself.
-- KEYS  1… the queue, then other queues that messages may be moved to in this step
-- ARGV  1 nonce; 2 a JSON list of settlements: i id, r receipt, e ending (delete, archive, release, move), m changed
--       fields of meta, d delay, u 1 to take the read back, b what is held back,
--       to the target of a move, q where its keys begin (or 0)
-- Returns for each '' if the receipt was stale, '+' and the new id if it was settled, or '>' and the outbox entry that
-- takes it to its new queue; then the outbox entries.
local q = queueAt(1)
if not isThere(q) then return missing(q) end
local others = { [1] = q }

local function targetAt(first)
  if first == 0 then return nil end
  others[first] = others[first] or queueAt(first)
  return isThere(others[first]) and others[first] or nil
end

local function change(m, fields)
  if not next(fields) then return end
  m.m = m.m or {}
  for field, text in pairs(fields) do m.m[field] = text end
end

local function isDead(m)
  local changed = m.m and m.m.dead_lettered_at
  if changed then return changed ~= 'null' end
  return m.x == 1
end

local endings = {}

function endings.delete(s, m)
  remove(q, s.i, m)
  postEnd(q, m, 'done')
  return '+'
end

function endings.archive(s, m)
  change(m, s.m)
  local body = redis.call('HGET', q.body, s.i)
  remove(q, s.i, m)
  postEnd(q, m, isDead(m) and 'dead' or s.m.cancelled_at and 'cancelled' or 'done')
  shelve(q, s.i, m, body)
  return '+'
end

function endings.release(s, m)
  change(m, s.m)
  if s.u == 1 then m.n = m.n - 1 end
  m.r, m.v = nil, now + s.d
  save(q, s.i, m)
  withdraw(q, s.i, m)
  if s.b then holdBack(q, m, s.b, m.v) end
  offer(q, s.i, m, m.v)
  return '+'
end

-- The move of a task is told before the copy arrives, so that events of the copy are told later.
function endings.move(s, m)
  change(m, s.m)
  local body = redis.call('HGET', q.body, s.i)
  remove(q, s.i, m)
  local o = { s = m.s or timeOf(s.i), d = s.d, p = m.p, k = m.k, g = m.g, m = m.m, c = m.c, w = m.w, x = m.x }
  if m.w then o.h = (m.h or 0) + 1 end
  local target = not m.w and targetAt(s.q)
  if target then return '+' .. store(target, body, o) end
  local entry = { kind = 'move', to = s.to, body = body, options = o }
  if m.w then entry.event = { 'moved', m.w, s.to, isDead(m) and 1 or 0, o.h } end
  return '>' .. post(q, entry)
end

-- Nothing becomes a dead letter that somebody has cancelled.
local function isKeptFromDeath(s, m)
  return m.m and m.m.cancel_requested_at and s.m and (s.m.dead_lettered_at or 'null') ~= 'null'
end

local results = {}
for i, s in ipairs(cjson.decode(ARGV[2])) do
  local m = stateOf(q, s.i)
  results[i] = m.r and m.r == s.r and not isKeptFromDeath(s, m) and endings[s.e](s, m) or ''
end
for _, each in pairs(others) do finish(each) end
return { results, q.posted }
