#!lua flags=no-writes
-- Looks at messages, by id.
-- KEYS  1… the queue
-- ARGV  1 JSON: place or '', limit, after (an id or ''), ids (a list; missing for any), dedupId (missing for any), texts that body or changed meta
--       must contain (which finds too much, but misses nothing), and how many messages may be looked at
-- Returns the messages, and the id from which to go on, or false at the end.
local q = queueAt(1)
if not isThere(q) then return missing(q) end
local request = cjson.decode(ARGV[1])
local isArchive = request.place == 'archived'
local source = isArchive and q.archive or q.order

-- Where the leased or the delayed messages are few, these: there may be many others.
local function few()
  local found = {}
  for _, set in ipairs(request.place == 'leased' and { q.leased } or { q.delayed, q.waiting }) do
    local some = redis.call('ZRANGE', set, '(' .. now, '+inf', 'BYSCORE', 'LIMIT', 0, request.budget)
    if #some == request.budget then return nil end
    for _, id in ipairs(some) do
      if id > request.after then found[#found + 1] = id end
    end
  end
  table.sort(found)
  return found
end

local isWhole = true

if request.dedupId then request.ids = { holderOf(q, { u = { request.dedupId } }) or nil } end

local function candidates()
  if not request.ids then
    local found = (request.place == 'leased' or request.place == 'delayed') and few()
    if found then return found end
    isWhole = false
    local after = request.after == '' and '-' or '(' .. request.after
    return redis.call('ZRANGEBYLEX', source, after, '+', 'LIMIT', 0, request.budget)
  end
  local found, seen = {}, {}
  for _, id in ipairs(request.ids) do
    if not seen[id] and id > request.after and redis.call('ZSCORE', source, id) then table.insert(found, id) end
    seen[id] = true
  end
  table.sort(found)
  return found
end

local function placeOf(id, m)
  local isToCome = (m.v or 0) > now
  if not isToCome then return 'ready' end
  return m.r and 'leased' or 'delayed'
end

local function contains(body, m, text)
  local firstLine = string.sub(body, 1, (string.find(body, '\n', 1, true)))
  if string.find(firstLine, text, 1, true) then return true end
  for _, change in pairs(m.m or {}) do
    if string.find(change, text, 1, true) then return true end
  end
  return false
end

local function fits(id, body, m)
  if request.place ~= '' and not isArchive and placeOf(id, m) ~= request.place then return false end
  for _, text in ipairs(request.texts) do
    if not contains(body, m, text) then return false end
  end
  return true
end

local messages, last = {}, false
local ids = candidates()
for i, id in ipairs(ids) do
  local body, m
  if isArchive then
    m, body = unpack(cmsgpack.unpack(redis.call('HGET', q.archived, id)))
  else
    m, body = stateOf(q, id), redis.call('HGET', q.body, id)
  end
  if fits(id, body, m) then
    m.r = nil
    table.insert(messages, row(id, body, m))
  end
  if #messages == request.limit or (i == #ids and not isWhole and #ids == request.budget) then
    last = id
    break
  end
end
return { messages, last }
