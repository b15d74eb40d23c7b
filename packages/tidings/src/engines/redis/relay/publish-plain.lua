#!lua
-- Stores messages without options in queues, all of them in each, as publish.lua does.
-- KEYS  1 the routes; then the first four of each queue
-- ARGV  1 the version of the routes by which they were found; 2 how many messages; then of each its meta up to the name of its
--       queue, headers and data; then of each queue name and incarnation
-- Returns of each queue the ids, one after the other, or false if it is gone; nothing if the routes have changed.
if (redis.call('HGET', KEYS[1], 'version') or '-') ~= ARGV[1] then return false end
local last = 2 + 3 * ARGV[2]
local found = {}
for i = 1, (#KEYS - 1) / 4 do
  local name = ARGV[last + 2 * i - 1]
  local q = plainAt(4 * i - 2)
  found[i] = false
  if readNewest(q) == ARGV[last + 2 * i] then
    local bodies = {}
    for at = 3, last, 3 do
      bodies[#bodies + 1] = '[' .. ARGV[at] .. name .. '"},' .. ARGV[at + 1] .. ']\n' .. ARGV[at + 2]
    end
    found[i] = storePlain(q, bodies)
  end
end
return found
