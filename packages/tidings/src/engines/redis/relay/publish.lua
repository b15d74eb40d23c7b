#!lua
-- Stores copies of messages in topics and queues, all or none; also those that an outbox entry brings to one of them.
-- KEYS  1… the topics, then the queues, one after the other; where ARGV 2 is given, last the routes
-- ARGV  1 nonce; 2 the version of the routes by which they were found, or ''; 3 a JSON list of the topics and one of the
--       queues, each with
--         name; incarnation, or '' for a topic whatever it is; messages: which ones it gets;
--         of a queue through: the numbers of the topics from which it gets what is new there;
--         of one to which an outbox entry brings them deliveries: the delivery ids, and checked, as in relay.lua;
--       4 the intent that this fulfils, or ''; 5 an entry for the outbox of the first one, with what has to be stored in
--       other slots, to which its results are added at the end, or '';
--       then for each message its meta up to the name of its queue, its own meta, headers, data, and options as in send.lua
-- Returns 1; for each topic its results as in send.lua, or false if it is gone; for each queue which messages it got, their
-- results and its outbox entries, or false; the id of the entry for other slots; and the other outbox entries of the
-- first topic. 0 if the routes have changed. -1 if the first one is gone and others depend on it. 2 and a mark if it has to
-- be checked whether they came before: see `doubtful` in relay.lua.
if ARGV[2] ~= '' and (redis.call('HGET', KEYS[#KEYS], 'version') or '-') ~= ARGV[2] then return { 0 } end
local plan = cjson.decode(ARGV[3])
local topics, queues = plan[1], plan[2]
local key = 1
local first
for _, target in ipairs(topics) do
  local t = topicAt(key)
  key = key + #topicKeys
  target.there = look(t) and (target.incarnation == '' or t.incarnation == target.incarnation) and t
  first = first or target
end
for _, target in ipairs(queues) do
  local q = queueAt(key)
  key = key + queueKeyCount
  target.there = readNewest(q) == target.incarnation and q
  first = first or target
end
if (ARGV[4] ~= '' or ARGV[5] ~= '' or first.deliveries) and not first.there then return { -1 } end
if first.there and not fulfil(first.there, ARGV[4]) then return noIntent() end
if first.deliveries then
  local mark = doubtful(first.there, first.deliveries, first.checked)
  if mark then return { 2, mark } end
end

local decoded = {}
local hasDedup = false
for i = 10, #ARGV, 5 do
  decoded[i] = ARGV[i] == '' and {} or cjson.decode(ARGV[i])
  hasDedup = hasDedup or decoded[i].u
end

-- Stores the n-th message of the target.
local function takeIn(target, n, work, ...)
  if target.deliveries then return onceDelivered(target.there, target.deliveries[n], work, ...) end
  return work(target.there, ...)
end

local topicAnswers = {}
for i, target in ipairs(topics) do
  target.fresh = {}
  topicAnswers[i] = false
  if target.there then
    if hasDedup then forgetDedup(target.there, 10) end
    local results = {}
    for n, index in ipairs(target.messages) do
      local at = 6 + index * 5
      results[n] = takeIn(target, n, appendOnce, ARGV[at + 1], ARGV[at + 2], ARGV[at + 3], decoded[at + 4])
      if string.sub(results[n], 1, 1) == '+' then target.fresh[index] = true end
    end
    finishTopic(target.there)
    topicAnswers[i] = results
  end
end

-- What a queue gets if it is new in its topics, in the order of the batch; and whether it does.
local function choose(target)
  local candidates, chosen = {}, {}
  for i, index in ipairs(target.messages) do
    candidates[i], chosen[index] = index, true
  end
  for _, number in ipairs(target.through) do
    local topic = topics[number + 1]
    for _, index in ipairs(topic.messages) do
      if chosen[index] == nil then table.insert(candidates, index) end
      chosen[index] = chosen[index] or topic.fresh[index] or false
    end
  end
  table.sort(candidates)
  return candidates, chosen
end

local queueAnswers = {}
for i, target in ipairs(queues) do
  local q = target.there
  local candidates, chosen = choose(target)
  local got, results = {}, {}
  if q and hasDedup then forgetDedup(q, 10) end
  for _, index in ipairs(candidates) do
    local at = 6 + index * 5
    local o = decoded[at + 4]
    local task = o.w
    -- Every copy is a task of its own.
    if task then o.w = task .. '/' .. target.name end
    if q and chosen[index] then
      local body = '[' .. ARGV[at] .. target.name .. '"},' .. ARGV[at + 2] .. ']\n' .. ARGV[at + 3]
      table.insert(got, index)
      table.insert(results, takeIn(target, #got, storeOnce, body, o))
    else
      postVoid(first.there, o)
    end
    o.w = task
  end
  if q then finish(q) end
  queueAnswers[i] = q and { got, results, q.posted }
end
local entry = ''
if ARGV[5] ~= '' then
  entry = base36(now, 9) .. '-' .. ARGV[1] .. '-copies'
  local results = topicAnswers[1] or queueAnswers[1][2]
  redis.call('HSET', first.there.outbox, entry, ARGV[5] .. ',"results":' .. cjson.encode(results) .. '}')
end
return { 1, topicAnswers, queueAnswers, entry, topics[1] and topics[1].there and topics[1].there.posted or {} }
