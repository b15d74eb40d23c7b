#!lua
-- Stores copies of messages in several queues, all or none.
-- KEYS  1… the queues, one after the other; where ARGV 2 is given, last the routes
-- ARGV  1 nonce; 2 the version of the routes by which the queues were found, or ''; 3 a JSON list of the queues: name,
--       incarnation, and which messages they get; 4 the intent that this fulfils, or ''; 5 what has to be stored in
--       other slots, as a parcel for the outbox of the first queue, or ''; then for each message what goes before
--       and after the name of its queue, and its options as in send.lua
-- Returns 1 and for each queue its results as in send.lua, its parcels, and the parcel for the others; 1 and false for
-- a queue that is gone; 0 if the routes have changed; -1 if the first queue is gone and others depend on it.
if ARGV[2] ~= '' and (redis.call('HGET', KEYS[#KEYS], 'version') or '-') ~= ARGV[2] then return { 0 } end
local queues = cjson.decode(ARGV[3])
local found = {}
for i, target in ipairs(queues) do
  local q = queueAt((i - 1) * #places + 1)
  found[i] = redis.call('HGET', q.meta, 'incarnation') == target.incarnation and q
end
-- On it depends what is in other slots.
if (ARGV[4] ~= '' or ARGV[5] ~= '') and not found[1] then return { -1 } end
if ARGV[4] ~= '' and redis.call('HDEL', queueAt(1).outbox, ARGV[4]) == 0 then
  return redis.error_reply('NOINTENT it took too long')
end
local options = {}
local function optionsOf(number)
  options[number] = options[number] or (ARGV[number] == '' and {} or cjson.decode(ARGV[number]))
  return options[number]
end
local answers = {}
for i, target in ipairs(queues) do
  local q = found[i]
  if q then
    forgetDedup(q, 10)
    local results = {}
    for _, index in ipairs(target.messages) do
      local at = 6 + index * 3
      local o = optionsOf(at + 2)
      local task = o.w
      -- Every copy is a task of its own.
      if task then o.w = task .. '/' .. target.name end
      table.insert(results, storeOnce(q, ARGV[at] .. target.name .. ARGV[at + 1], o))
      o.w = task
    end
    finish(q)
    answers[i] = { results, q.parcels }
  else
    answers[i] = false
  end
end
local parcel = ''
if ARGV[5] ~= '' then
  parcel = base36(now, 9) .. '-' .. ARGV[1] .. '-copies'
  redis.call('HSET', found[1].outbox, parcel, ARGV[5])
end
return { 1, answers, parcel }
