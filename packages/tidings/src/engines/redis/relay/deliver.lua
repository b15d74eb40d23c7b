#!lua flags=allow-oom
-- Takes in moved messages, and what tells of the end of a correlation, each once. Memory may be full: a moved message has
-- left its former queue, and a settlement must not fail for want of room.
-- KEYS  1… the queue
-- ARGV  1 nonce; 2 `checked` as in relay.lua, or ''; then for each message its body, its options as in send.lua, and its
--       delivery id
-- Returns the results as send.lua, and the outbox entries; or the mark alone, and nothing is stored, if it has to be checked
-- whether they came before: see `doubtful` in relay.lua.
local q = queueAt(1)
if not isThere(q) then return missing(q) end
local deliveries = {}
for i = 5, #ARGV, 3 do table.insert(deliveries, ARGV[i]) end
local mark = doubtful(q, deliveries, ARGV[2])
if mark then return { mark } end
local results = {}
for i, delivery in ipairs(deliveries) do
  local text = ARGV[3 * i + 1]
  results[i] = onceDelivered(q, delivery, storeOnce, ARGV[3 * i], text == '' and {} or cjson.decode(text))
end
finish(q)
return { results, q.posted }
