#!lua flags=no-writes
-- Looks for what is to be read though nobody announced it, and for processes that are gone and had something in hand.
-- KEYS  of each queue meta, then of each ready, delayed, leased and lanes; then of each topic meta
-- ARGV  1 how many queues; 2 the token of the caller, or '' not to look for processes; 3 '1' to do so also in queues
--       where nothing is leased
-- Returns the time, or false where nothing is told that needs it; for each queue in how many milliseconds the next message is
-- due, 0 for now, or false, and for each topic its last offset; then for each of them the tokens of the processes that are
-- gone.
local queues = tonumber(ARGV[1])
local found, lost = {}, {}
-- Not `now`: mostly there is nothing, and then the clock is not asked.
local time = false

-- A part of the processes, if there are many: others look, too, and later looks find the rest.
local function lostIn(meta)
  local tokens = { ARGV[2] }
  local fields = redis.pcall('HRANDFIELD', meta, 200)
  for _, field in ipairs(fields) do
    if string.sub(field, 1, 1) == '~' and field ~= holderField(ARGV[2]) then table.insert(tokens, string.sub(field, 2)) end
  end
  return #tokens > 1 and goneOf(meta, tokens) or {}
end

local function lookInto(i)
  local first = queues + 4 * i - 3
  local dueMs = redis.call('EXISTS', KEYS[first], KEYS[first + 3]) > 0 and 0
  local leased = redis.call('ZRANGE', KEYS[first + 2], 0, 0, 'WITHSCORES')
  for _, soonest in ipairs({ redis.call('ZRANGE', KEYS[first + 1], 0, 0, 'WITHSCORES')[2] or false, leased[2] or false }) do
    if soonest then
      time = time or readClock()
      dueMs = math.max(0, math.min(dueMs or math.huge, tonumber(soonest) - time))
    end
  end
  found[i] = dueMs
  lost[i] = ARGV[2] ~= '' and (#leased > 0 or ARGV[3] == '1') and lostIn(KEYS[i]) or {}
end

-- Mostly that is all there is to be asked.
local isQuiet = ARGV[3] ~= '1' and queues > 0 and redis.call('EXISTS', unpack(KEYS, queues + 1, 5 * queues)) == 0
for i = 1, queues do
  found[i], lost[i] = false, {}
  if not isQuiet then lookInto(i) end
end
for i = 5 * queues + 1, #KEYS do
  table.insert(found, tonumber(redis.call('HGET', KEYS[i], 'last') or 0))
  table.insert(lost, ARGV[2] ~= '' and lostIn(KEYS[i]) or {})
end
for _, tokens in ipairs(lost) do
  if #tokens > 0 then time = time or readClock() end
end
return { time, found, lost }
