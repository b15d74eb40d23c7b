#!lua flags=allow-oom
-- Gives back what processes had in hand that are gone, one part of the leased messages after the other. They are looked for
-- here and now; who is there again keeps what is left.
-- KEYS  1… the queue
-- ARGV  1 the time, as text for meta; 2 the cursor, '0' at first; 3 how many messages of a part; 4 token of the caller; then
--       those of the processes
-- Returns the cursor to go on from, '' at the end, and which of the processes are gone all the while.
local q = queueAt(1)
local gone = goneOf(q.meta, { unpack(ARGV, 4) })
local isGone = {}
for _, token in ipairs(gone) do isGone[token] = true end
if #gone == 0 then return { '', gone } end

local lostAt = cjson.encode(ARGV[1])
local found = redis.call('ZSCAN', q.leased, ARGV[2], 'COUNT', ARGV[3])
local seen, looked = {}, {}
for i = 1, #found[2], 2 do
  -- A scan may return a member twice.
  if not seen[found[2][i]] then table.insert(looked, found[2][i]) end
  seen[found[2][i]] = true
end
local ids, states = {}, {}
for i, state in ipairs(readAll(q.state, looked)) do
  local m = unpacked(state)
  if m.r and isGone[holderIn(m.r)] then
    m.m = m.m or {}
    m.m.process_lost_at = lostAt
    if isAhead(m.r) then
      m.m.read_ahead_lost = 'true'
      m.n = m.n - 1
    end
    table.insert(ids, looked[i])
    table.insert(states, m)
  end
end
giveBack(q, ids, states)
finish(q)
if found[1] ~= '0' then return { found[1], gone } end
for _, token in ipairs(gone) do redis.call('HDEL', q.meta, holderField(token)) end
return { '', gone }
