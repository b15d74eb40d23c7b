#!lua flags=allow-oom
-- Forgets what has expired, and finds parcels that nobody took to where they belong.
-- KEYS  1… the queue
-- ARGV  1 how old a parcel is that was left, in milliseconds; 2 the same for an intent; 3 how long ago a parcel
--       came that may be forgotten
-- Returns 1 if the queue exists, whether there is more to forget, how many parcels there are, the old ones, and those that
-- came so long ago.
local q = queueAt(1)
local more = forgetDedup(q, 1000)
local old = oldTaken(q, ARGV[3])
local left, count = leftParcels(q, ARGV[1], ARGV[2])
return { isThere(q) and 1 or 0, more and 1 or 0, count, left, old }
