-- Helpers of scripts for topics. Keys of a topic always come together, in the order of
-- `topicKeys`; the first one is given by its number.

-- meta           hash: created, incarnation, description, and of the retention age, size and read; last: the newest
--                offset; time: of its message; bytes: of all messages ever; base: the last offset that was removed;
--                gone: the bytes up to there; ~<token> of every process that has held a subscription
-- log            stream: messages under <offset>-0, with data, meta, headers, at (when it was published) and bytes (of all
--                messages up to it); for every subscription a group of its name, which only shows others where it is
-- subscriptions  hash: name → c cursor, a createdAt, m movedAt, h consumer, u until when it is the consumer's, r receipt, t token of
--                the process with which that ends,
--                v how many holders vanished in a row, p after which offset that was, i what created it
-- dedup          hash: dedup id → offset; windows: sorted set of the same by the end of the window
-- inbox, outbox  as for queues
local topicKeys = { 'meta', 'log', 'subscriptions', 'dedup', 'windows', 'inbox', 'outbox' }

local function topicAt(first)
  local t = { posted = {} }
  for i, name in ipairs(topicKeys) do t[name] = KEYS[first + i - 1] end
  t.tag = string.sub(t.meta, 1, -6)
  return t
end

-- Reads the meta. Returns the incarnation, or false if there is no topic.
local function look(t)
  local found = redis.call('HMGET', t.meta, 'incarnation', 'last', 'time', 'bytes', 'base', 'gone')
  t.incarnation = found[1]
  t.last, t.time, t.bytes = tonumber(found[2]) or 0, tonumber(found[3]) or 0, tonumber(found[4]) or 0
  t.base, t.gone = tonumber(found[5]) or 0, tonumber(found[6]) or 0
  return t.incarnation
end

local function idOf(offset)
  return offset .. '-0'
end

-- Adds a message at the end. Returns its offset.
local function append(t, meta, headers, data)
  t.last = t.last + 1
  -- The clock may go back. Times of messages never do.
  t.time = math.max(now, t.time)
  t.bytes = t.bytes + #meta + #headers + #data
  redis.call('XADD', t.log, idOf(t.last), 'data', data, 'meta', meta, 'headers', headers, 'at', t.time, 'bytes', t.bytes)
  t.changed = true
  return t.last
end

-- Adds a message unless it is a duplicate; o as in `send.lua`. Returns '+' and the offset, or '=' and that of the first.
local function appendOnce(t, meta, headers, data, o)
  local first = firstWithId(t, o)
  if first then return '=' .. first end
  local offset = append(t, meta, headers, data)
  takeId(t, o, offset)
  return '+' .. offset
end

local function wakeReaders(t)
  redis.call('SPUBLISH', t.tag .. ':wake', '0')
end

-- Writes the new end of the log, and wakes readers.
local function finishTopic(t)
  if not t.changed then return end
  redis.call('HSET', t.meta, 'last', t.last, 'time', t.time, 'bytes', t.bytes)
  wakeReaders(t)
end

local function fieldAt(t, offset, field)
  local entry = redis.call('XRANGE', t.log, idOf(offset), idOf(offset))[1][2]
  for i = 1, #entry, 2 do
    if entry[i] == field then return tonumber(entry[i + 1]) end
  end
end

-- The first offset whose field is at least so much; one above the last if there is none. By halves: offsets have no gaps,
-- and neither field ever falls.
local function firstWith(t, field, least)
  local low, high = t.base + 1, t.last
  while low <= high do
    local middle = math.floor((low + high) / 2)
    if fieldAt(t, middle, field) >= least then
      high = middle - 1
    else
      low = middle + 1
    end
  end
  return low
end

-- The cursor that a position means; position as in the port, as JSON, from the cursor of the subscription.
local function cursorAt(t, position, from)
  local wanted
  if position == 'earliest' then
    wanted = t.base
  elseif position == 'latest' then
    wanted = t.last
  elseif position.offset then
    wanted = position.offset - 1
  elseif position.back then
    wanted = from - position.back
  else
    wanted = firstWith(t, 'at', position.time) - 1
  end
  return math.min(math.max(wanted, t.base), t.last)
end

local function noSubscription(t, name)
  return redis.error_reply('NOSUBSCRIPTION ' .. t.meta .. ' ' .. name)
end

local function subscriptionOf(t, name)
  local packed = redis.call('HGET', t.subscriptions, name)
  return packed and cmsgpack.unpack(packed)
end

local function saveSubscription(t, name, s)
  redis.call('HSET', t.subscriptions, name, cmsgpack.pack(s))
end

-- Shows the cursor to other clients of Redis, as a group. Such a client may have removed the group.
local function showCursor(t, name, s)
  local id = idOf(s.c)
  if redis.pcall('XGROUP', 'SETID', t.log, name, id, 'ENTRIESREAD', s.c).err then
    redis.pcall('XGROUP', 'CREATE', t.log, name, id, 'MKSTREAM', 'ENTRIESREAD', s.c)
  end
end

local function moveTo(t, name, s, cursor)
  s.c, s.m = cursor, now
  saveSubscription(t, name, s)
  showCursor(t, name, s)
end
