#!lua flags=allow-oom
-- Forgets what has expired, and finds parcels that nobody took to where they belong.
-- KEYS  1… the queue
-- ARGV  1 how old a parcel is that was left, in milliseconds; 2 the same for an intent; 3 how long ago a parcel
--       came that may be forgotten; 4 and 5 where to go on looking for the two, first '0', in the end ''
-- Returns 1 if the queue exists, whether there is more to forget, some old parcels, some that came so long ago, and where to
-- go on with both.
local q = queueAt(1)
local more = forgetDedup(q, 1000)
local left, followingLeft = leftParcels(q, ARGV[1], ARGV[2], ARGV[4])
local old, followingOld = oldTaken(q, ARGV[3], ARGV[5])
return { isThere(q) and 1 or 0, more and 1 or 0, left, old, followingLeft, followingOld }
