-- Helpers of scripts that write outbox entries or read them, and of those that take in deliveries. The states of an entry
-- stand in relay.ts.

-- Writes an entry into the outbox, in the step that it follows from. ARGV 1 of the script is a nonce. Returns its id.
local function post(source, entry)
  local id = base36(now, 9) .. '-' .. ARGV[1] .. '-' .. (#source.posted / 2)
  local text = cjson.encode(entry)
  redis.call('HSET', source.outbox, id, text)
  addPair(source.posted, id, text)
  return id
end

-- The end of a task, for its correlation.
local function postEnd(q, m, ending)
  if m.w then post(q, { kind = 'event', correlation = m.c, event = { ending, m.w } }) end
end

-- The task of a message that is not stored.
local function postVoid(source, o)
  if o.w then post(source, { kind = 'event', correlation = o.c, event = { 'void', o.w } }) end
end

-- Renames what tells which tasks end with the messages of the queue to the keys of a removed queue, and posts its name:
-- there may be more tasks than one step can tell. KEYS has two more, for the ids and for the states.
local function postRemoved(q, removed)
  if redis.call('EXISTS', q.tasks) == 0 then return end
  redis.call('RENAME', q.order, KEYS[queueKeyCount + 1])
  redis.call('RENAME', q.state, KEYS[queueKeyCount + 2])
  post(q, { kind = 'gone', grave = removed })
end

-- Fulfils an intent, '' for none. Returns false if upkeep has withdrawn it.
local function fulfil(destination, intent)
  return intent == '' or redis.call('HDEL', destination.outbox, intent) == 1
end

local function noIntent()
  return redis.error_reply('NOINTENT it took too long')
end

-- Some entries that were left in the outbox, and the next cursor: older than `entryMs`, or `intentMs` for an intent.
local function leftEntries(source, entryMs, intentMs, cursor)
  local left = {}
  local entries, following = scan(source.outbox, cursor, 100)
  for i = 1, #entries, 2 do
    local id, text = entries[i], entries[i + 1]
    local isIntent = string.match(id, '-intent$')
    if now - timeOf(id) >= tonumber(isIntent and intentMs or entryMs) then
      if isIntent then
        -- Under another name nobody can fulfil it: its tasks will not be sent.
        redis.call('HDEL', source.outbox, id)
        id = id .. '-over'
        redis.call('HSET', source.outbox, id, text)
      end
      addPair(left, id, text)
    end
  end
  return left, following
end

-- Some delivery ids that have been in the inbox for `keptMs`, and the next cursor.
local function oldDeliveries(destination, keptMs, cursor)
  local old = {}
  local inbox, following = scan(destination.inbox, cursor, 1000)
  for i = 1, #inbox, 2 do
    if tonumber(string.match(inbox[i + 1], '^%d+')) < now - tonumber(keptMs) then table.insert(old, inbox[i]) end
  end
  return old, following
end

-- Up to when entries were made whose delivery ids the inbox may have forgotten.
local function forgottenUpTo(meta)
  local found = redis.call('HMGET', meta, 'forgotten', 'created')
  return tonumber(found[1] or found[2])
end

-- The mark of the inbox, if it may have forgotten one of these deliveries. A delivery has not come before if its outbox
-- still had the entry at a moment since which nothing more was forgotten; `checked` is the mark of that moment, or ''.
local function doubtful(destination, deliveries, checked)
  local mark
  for _, delivery in ipairs(deliveries) do
    if redis.call('HEXISTS', destination.inbox, delivery) == 0 then
      mark = mark or forgottenUpTo(destination.meta)
      if mark ~= tonumber(checked) and timeOf(delivery) <= mark then return mark end
    end
  end
end

-- Runs `work` unless the delivery is in the inbox, and notes it there. Returns the result, also that of the first time.
local function onceDelivered(destination, delivery, work, ...)
  local before = redis.call('HGET', destination.inbox, delivery)
  if before then return string.match(before, ' (.*)') end
  local result = work(destination, ...)
  redis.call('HSET', destination.inbox, delivery, now .. ' ' .. result)
  return result
end
