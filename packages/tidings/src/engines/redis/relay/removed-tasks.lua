#!lua flags=allow-oom
-- Reads the tasks of a removed queue, a part at a time. May be repeated.
-- KEYS  1 ids and 2 states of its messages, as `postRemoved` in relay.lua has named them
-- ARGV  1 the last id whose task is told, or ''; 2 how many messages at most
-- Returns the last id, and correlation and task of each message that has one; nil if there is none left.
local most = tonumber(ARGV[2])
if ARGV[1] ~= '' then
  local told = redis.call('ZRANGEBYLEX', KEYS[1], '-', '[' .. ARGV[1], 'LIMIT', 0, most)
  writeAll('ZREM', KEYS[1], told)
  writeAll('HDEL', KEYS[2], told)
end
local ids = redis.call('ZRANGE', KEYS[1], 0, most - 1)
if #ids == 0 then
  redis.call('UNLINK', KEYS[2])
  return false
end
local tasks = {}
for _, state in ipairs(readAll(KEYS[2], ids)) do
  local m = unpacked(state)
  if m.w then addPair(tasks, m.c, m.w) end
end
return { ids[#ids], tasks }
