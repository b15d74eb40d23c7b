-- Helpers of scripts for queues, topics and the relay. A script is sent with the helpers that it uses. All times are
-- milliseconds of the server's clock.

local function readClock()
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end

local now = readClock()

-- Arguments of a call have to fit on a stack; pairs stay together.
local atOnce = 1000

local function writeAll(command, key, list)
  local count = 0
  for i = 1, #list, atOnce do
    count = count + redis.call(command, key, unpack(list, i, math.min(i + atOnce - 1, #list)))
  end
  return count
end

-- Fields of a hash, in their order; false for those that are missing.
local function readAll(key, fields)
  local values = {}
  for i = 1, #fields, atOnce do
    local some = redis.call('HMGET', key, unpack(fields, i, math.min(i + atOnce - 1, #fields)))
    for at, value in ipairs(some) do values[i + at - 1] = value end
  end
  return values
end

local function addPair(list, first, second)
  list[#list + 1] = first
  list[#list + 1] = second
end

-- A number in base 36. Four digits at a time make less garbage than one.
local function base36(number, width)
  local d = number % 36
  number = (number - d) / 36
  local c = number % 36
  number = (number - c) / 36
  local b = number % 36
  number = (number - b) / 36
  local a = number % 36
  number = (number - a) / 36
  local text = string.char(
    a < 10 and a + 48 or a + 87, b < 10 and b + 48 or b + 87, c < 10 and c + 48 or c + 87, d < 10 and d + 48 or d + 87
  )
  if width > 4 then return base36(number, width - 4) .. text end
  return width == 4 and text or string.sub(text, -width)
end

-- Ids are a time and a number within it, in base 36, and only grow, also when the clock goes back.
local function timeOf(id)
  return tonumber(string.sub(id, 1, 9), 36)
end

-- Some fields of a hash with their values, from a cursor on, and the next cursor: '0' is the first, '' is beyond the last.
local function scan(key, cursor, count)
  if cursor == '' then return {}, '' end
  local found = redis.call('HSCAN', key, cursor, 'COUNT', count)
  return found[2], found[1] == '0' and '' or found[1]
end

-- The client reads from the key whether a queue or a topic is missing.
local function missing(destination)
  return redis.error_reply('MISSING ' .. destination.meta)
end

-- The first message with this dedup id within the window; nil or false if there is none.
local function firstWithId(q, o)
  local until_ = o.u and tonumber(redis.call('ZSCORE', q.windows, o.u[1]))
  return until_ and now < until_ and redis.call('HGET', q.dedup, o.u[1])
end

local function takeId(q, o, id)
  if not o.u then return end
  redis.call('HSET', q.dedup, o.u[1], id)
  redis.call('ZADD', q.windows, now + o.u[2], o.u[1])
end

-- Forgets dedup ids whose window is over. Returns whether there may be more.
local function forgetDedup(q, most)
  local over = redis.call('ZRANGEBYSCORE', q.windows, '-inf', now, 'LIMIT', 0, most)
  for _, id in ipairs(over) do
    redis.call('ZREM', q.windows, id)
    redis.call('HDEL', q.dedup, id)
  end
  return #over == most
end

-- Gives the routes a new version.
local function changeRoutes(routes, version)
  redis.call('HSET', routes, 'version', version)
  if redis.call('HLEN', routes) == 1 then redis.call('DEL', routes) end
end

-- Receipts of leases that end with the life of a process begin with its token, of 8 letters. The nonce of the call follows,
-- of 12 letters; '-' or, for a message that is read ahead, '_'; and a number of 3. Other receipts have no token.
local function holderIn(receipt)
  return #receipt == 24 and string.sub(receipt, 1, 8)
end

local function isAhead(receipt)
  return string.sub(receipt, 21, 21) == '_'
end

-- The field of meta that says that a process has something, or had.
local function holderField(token)
  return '~' .. token
end

-- Which of these processes are gone that have something in a queue or topic: nobody hears their channels. Only if the one that asks,
-- the first, is heard of here itself.
local function goneOf(meta, tokens)
  local channels, fields = {}, {}
  for i, token in ipairs(tokens) do channels[i], fields[i] = '{tidings}:life:' .. token, holderField(token) end
  local counts = redis.pcall('PUBSUB', 'NUMSUB', unpack(channels))
  local gone = {}
  if counts.err or counts[2] == 0 then return gone end
  local known = redis.call('HMGET', meta, unpack(fields))
  for i = 2, #tokens do
    if known[i] and counts[2 * i] == 0 then gone[#gone + 1] = tokens[i] end
  end
  return gone
end
