#!lua
-- Stores messages in their order.
-- KEYS  1… the queue; without options and an intent the first four of its keys suffice
-- ARGV  1 nonce; 2 the intent that this fulfils, or ''; 3 how many messages the queue may hold with these, or ''; then for
--       each message its body and its options, as JSON or '':
--       d delay, n time before which it is not ready, p priority, k ordering key, g group, u dedup id, window and more, see
--       messages.ts, t target,
--       s sentAt, m changed fields of meta, c correlation, w task, x 1 for a dead letter, h how often its task
--       was moved
-- Returns '+id' for each, '=id' of the first if it is a duplicate, or '~id' if it replaced that one's data, and the outbox entries. Where they do not fit: none,
-- and at the end how many messages the queue has, and how many were to be stored.
local q = queueAt(1)
if not readNewest(q) then return missing(q) end
if not fulfil(q, ARGV[2]) then return noIntent() end
local options = {}
local hasDedup = false
for i = 5, #ARGV, 2 do
  local o = ARGV[i] == '' and {} or cjson.decode(ARGV[i])
  options[#options + 1] = o
  hasDedup = hasDedup or o.u
end

-- How many are no duplicates, also not of each other.
local function countFresh()
  local count, ids, targets = 0, {}, {}
  for _, o in ipairs(options) do
    local isRepeated = (o.u and ids[o.u[1]]) or (o.t and targets[o.t])
    if not isRepeated and not firstOf(q, o) then
      count = count + 1
      if o.u then ids[o.u[1]] = true end
      if o.t then targets[o.t] = true end
    end
  end
  return count
end

if ARGV[3] ~= '' then
  local length, most = redis.call('ZCARD', q.order), tonumber(ARGV[3])
  local count = length + #options > most and countFresh() or 0
  if count > 0 and length + count > most then
    for _, o in ipairs(options) do postVoid(q, o) end
    return { {}, q.posted, length, count }
  end
end
if hasDedup then forgetDedup(q, 10) end
local results = {}
for i, o in ipairs(options) do table.insert(results, storeOnce(q, ARGV[2 + 2 * i], o)) end
finish(q)
return { results, q.posted }
