#!lua flags=allow-oom
-- Forgets what has expired, and finds parcels that nobody took to where they belong.
-- KEYS  1… the queue
-- ARGV  1 how old a parcel is that was left, in milliseconds; 2 the same for an intent; 3 how long it is remembered
--       which parcels came
-- Returns 1 if the queue exists, whether there is more to forget, how many parcels there are, and the old ones.
local q = queueAt(1)
local more = forgetDedup(q, 1000)
local taken = redis.call('HGETALL', q.taken)
for i = 1, #taken, 2 do
  if tonumber(string.match(taken[i + 1], '^%d+')) < now - tonumber(ARGV[3]) then redis.call('HDEL', q.taken, taken[i]) end
end
local left = {}
local parcels = redis.call('HGETALL', q.outbox)
for i = 1, #parcels, 2 do
  local id, text = parcels[i], parcels[i + 1]
  local isIntent = string.match(id, '-intent$')
  if now - timeOf(id) >= tonumber(isIntent and ARGV[2] or ARGV[1]) then
    if isIntent then
      -- Nobody can fulfil it any more: its tasks will not be sent.
      redis.call('HDEL', q.outbox, id)
      id = id .. '-over'
      redis.call('HSET', q.outbox, id, text)
    end
    table.insert(left, id)
    table.insert(left, text)
  end
end
return { isThere(q) and 1 or 0, more and 1 or 0, #parcels / 2, left }
