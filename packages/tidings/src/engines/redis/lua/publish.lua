#!lua
-- Stores copies of messages in topics and queues, all or none.
-- KEYS  1… the topics, then the queues, one after the other; where ARGV 2 is given, last the routes
-- ARGV  1 nonce; 2 the version of the routes by which they were found, or ''; 3 a JSON list of the topics and one of the
--       queues: each with name, incarnation (or '' for a topic whatever it is), and which messages it gets; a topic to which
--       they come by parcel also with `checked`, as in common.lua; a queue also
--       with `through`: the numbers of the topics from which it gets what is new there; 4 the intent that this fulfils,
--       or ''; 5 what has to be stored in other slots: a parcel for the outbox of the first one, to which its results
--       are added at the end, or ''; then for each message its meta up to the name of its queue, its own meta, headers,
--       data, and options as in send.lua
-- Returns 1, then for each topic its results as in send.lua, or false if it is gone, and for each queue which messages
-- it got, their results and its parcels, or false; the parcel for other slots, and the first one's other parcels. 0 if the
-- routes have changed; -1 if the first one is gone and others depend on it. 2 and a number if it has to be checked
-- whether they came before: see `doubtful`.
if ARGV[2] ~= '' and (redis.call('HGET', KEYS[#KEYS], 'version') or '-') ~= ARGV[2] then return { 0 } end
local plan = cjson.decode(ARGV[3])
local topics, queues = plan[1], plan[2]
local key = 1
local first
for _, target in ipairs(topics) do
  local t = topicAt(key)
  key = key + #topicPlaces
  target.there = look(t) and (target.incarnation == '' or t.incarnation == target.incarnation) and t
  first = first or target
end
for _, target in ipairs(queues) do
  local q = queueAt(key)
  key = key + #places
  target.there = redis.call('HGET', q.meta, 'incarnation') == target.incarnation and q
  first = first or target
end
-- On it depends what is in other slots.
if (ARGV[4] ~= '' or ARGV[5] ~= '') and not first.there then return { -1 } end
if ARGV[4] ~= '' and redis.call('HDEL', first.there.outbox, ARGV[4]) == 0 then
  return redis.error_reply('NOINTENT it took too long')
end

local decoded = {}
local function optionsOf(number)
  local text = ARGV[number]
  decoded[number] = decoded[number] or (text == '' and {} or cjson.decode(text))
  return decoded[number]
end

for _, target in ipairs(topics) do
  local options = {}
  for n, index in ipairs(target.messages) do options[n] = optionsOf(6 + index * 5 + 4) end
  local doubt = target.there and doubtful(target.there, options, target.checked)
  if doubt then return { 2, doubt } end
end

local topicAnswers = {}
for i, target in ipairs(topics) do
  target.fresh = {}
  topicAnswers[i] = false
  if target.there then
    forgetDedup(target.there, 10)
    local results = {}
    for n, index in ipairs(target.messages) do
      local at = 6 + index * 5
      results[n] = appendOnce(target.there, ARGV[at + 1], ARGV[at + 2], ARGV[at + 3], optionsOf(at + 4))
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
  if q then forgetDedup(q, 10) end
  for _, index in ipairs(candidates) do
    local at = 6 + index * 5
    local o = optionsOf(at + 4)
    local task = o.w
    -- Every copy is a task of its own.
    if task then o.w = task .. '/' .. target.name end
    if q and chosen[index] then
      local body = '[' .. ARGV[at] .. target.name .. '"},' .. ARGV[at + 2] .. ']\n' .. ARGV[at + 3]
      table.insert(got, index)
      table.insert(results, storeOnce(q, body, o))
    else
      postVoid(first.there, o)
    end
    o.w = task
  end
  if q then finish(q) end
  queueAnswers[i] = q and { got, results, q.parcels }
end
local parcel = ''
if ARGV[5] ~= '' then
  parcel = base36(now, 9) .. '-' .. ARGV[1] .. '-copies'
  local results = topicAnswers[1] or queueAnswers[1][2]
  redis.call('HSET', first.there.outbox, parcel, ARGV[5] .. ',"results":' .. cjson.encode(results) .. '}')
end
return { 1, topicAnswers, queueAnswers, parcel, topics[1] and topics[1].there and topics[1].there.parcels or {} }
