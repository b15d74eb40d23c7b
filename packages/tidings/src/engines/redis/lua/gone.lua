#!lua flags=allow-oom
-- Which tasks ended with messages that were purged or dropped, so many at a time. May be repeated.
-- KEYS  1 their ids, and 2 their states, as `bury` in common.lua has put them aside
-- ARGV  1 up to which id they are told, or ''; 2 how many messages at most
-- Returns the last id, and correlation and task of each of them that has one; nil if there is none left.
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
