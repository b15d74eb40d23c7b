#!lua
-- Stores messages without options in their order, as send.lua does.
-- KEYS  1… the first four of the queue
-- ARGV  the bodies
-- Returns the ids, one after the other.
local q = plainAt(1)
if not readNewest(q) then return missing(q) end
return storePlain(q, ARGV)
