-- Helpers of scripts for queues, topics and the relay. A script is sent with the helpers that it uses. All times are
-- milliseconds of the server's clock.

local clock = redis.call('TIME')
local now = tonumber(clock[1]) * 1000 + math.floor(tonumber(clock[2]) / 1000)

-- Arguments of a call have to fit on a stack; pairs stay together.
local atOnce = 1000

local function writeAll(command, key, list)
  for i = 1, #list, atOnce do redis.call(command, key, unpack(list, i, math.min(i + atOnce - 1, #list))) end
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

local digits = '0123456789abcdefghijklmnopqrstuvwxyz'

local function base36(number, width)
  local text = ''
  for _ = 1, width do
    local digit = number % 36
    text = string.sub(digits, digit + 1, digit + 1) .. text
    number = (number - digit) / 36
  end
  return text
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
