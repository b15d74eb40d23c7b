#!lua flags=no-writes
-- The message that was sent with a dedup id.
-- KEYS  1… the queue
-- ARGV  1 the dedup id
-- Returns its id, or false if the dedup id is free.
local q = queueAt(1)
if not isThere(q) then return missing(q) end
return holderOf(q, { u = { ARGV[1] } }) or false
