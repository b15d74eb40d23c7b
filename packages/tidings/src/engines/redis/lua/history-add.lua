#!lua
-- Adds what a process counted.
-- KEYS  1 meta of the queue, or the base of the whole storage
-- ARGV  1 'queue' or 'all'; 2 for how many milliseconds it is kept; then for each minute how many minutes ago it was, and the
--       numbers
local base = KEYS[1]
if ARGV[1] == 'queue' then
  local incarnation = redis.call('HGET', base, 'incarnation')
  if not incarnation then return end
  base = historyBase(base, incarnation)
end
local function numbersIn(text)
  local numbers = {}
  for number in string.gmatch(text, '%d+') do numbers[#numbers + 1] = tonumber(number) end
  return numbers
end
for i = 3, #ARGV, 2 do
  local minute = thisMinute() - tonumber(ARGV[i])
  local key, field = historyKey(base, minute), 'c' .. minute % 60
  local some, others = numbersIn(ARGV[i + 1]), numbersIn(redis.call('HGET', key, field) or '')
  for at = 1, math.max(#some, #others) do some[at] = (some[at] or 0) + (others[at] or 0) end
  redis.call('HSET', key, field, table.concat(some, ' '))
  keep(key, ARGV[2])
end
